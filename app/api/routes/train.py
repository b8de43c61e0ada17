"""POST /train-step: one update of the weights, answered with the version that it made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache

from app.api.asgi import Answer, Receive, Scope, read_body, single_header
from app.api.edge import (
    Edge,
    decode,
    hidden_states_of,
    id_fields,
    key_of,
    query_options,
    sender_of,
    stamp_headers,
)
from app.api.negotiation import JSON, choose_reader
from app.codecs import Body, BodySchema
from app.config import parse_loss
from app.errors import Malformed, Unacceptable
from app.failpoints import reach
from app.settings import Settings
from app.types import WHOLE_FIELDS, Batch, Stamp, TrainStep
from app.wording import offered

READS = frozenset({JSON, "application/x-safetensors"})
ARRAYS = frozenset(field.name for field in fields(Batch))
OPTIONS = frozenset({"loss", "branch"})
_NO_QUERY: frozenset[str] = frozenset()
_KEY = b"idempotency-key"
_ETAG = re.compile(r'"([0-9]{1,18})"')


async def train_step(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Applies one update: forward, loss, backward, optimizer step.

    The answer names the version and digest that it made. A refused step changes nothing. With an
    `Idempotency-Key` it is applied once, however often it is sent: the same request again gets the
    stored answer, byte for byte, and `Idempotency-Replayed: true`.
    """
    reader = choose_reader(scope, READS)
    is_json = reader.media_type == JSON
    limits = edge.settings
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    if_version = parse_if_match(single_header(scope, b"if-match"))
    octets = await read_body(scope, receive, limit)
    schema = step_schema(limits.max_rows, ids=id_fields(edge, model))
    body = await decode(edge, reader, octets, schema)
    query = query_options(scope, _NO_QUERY if is_json else OPTIONS)
    step = step_of(body, query, if_version=if_version)
    text = _key_text(scope)
    key = None if text is None else await key_of(edge, scope, text, step)
    result = await edge.service.train_step(model, step, key, sender=sender_of(scope))
    answer = result.answer
    stamp = Stamp(answer.model, answer.version, answer.digest)
    headers = dict(stamp_headers(JSON, stamp))
    if key is not None:
        headers["idempotency-window"] = _window(limits)
    if result.is_replayed:
        headers["idempotency-replayed"] = "true"
        edge.metrics.replays.labels(model).inc()
    else:
        edge.metrics.add_rows(model, "train", answer.rows)
    reach("reply.before_send")
    return Answer(result.body, headers)


@lru_cache(maxsize=8)
def step_schema(
    max_rows: int, beside: frozenset[str] = OPTIONS, *, ids: frozenset[str] = frozenset()
) -> BodySchema:
    """What the body of a step may hold.

    Args:
        max_rows: most rows of any array.
        beside: names what may stand beside the arrays.
        ids: names the arrays that the model takes as ids.
    """
    return BodySchema(arrays=ARRAYS, options=beside, max_rows=max_rows, whole=WHOLE_FIELDS, ids=ids)


def step_of(body: Body, query: Mapping[str, str], *, if_version: int | None = None) -> TrainStep:
    """The step that a decoded body asks for, with the options that came in the query.

    Raises:
        Unacceptable: without hidden_states.
        ConfigInvalid: the loss is unknown, or has a bad argument.
    """
    hidden_states_of(body)
    options = {**body.options, **query}
    return TrainStep(
        batch=Batch(**body.arrays),
        loss=parse_loss(options["loss"]) if "loss" in options else None,
        branch=_branch(options["branch"]) if "branch" in options else None,
        if_version=if_version,
    )


def _branch(value: object) -> str:
    """The name of a branch; whether the model has it, the service says."""
    if not isinstance(value, str):
        raise Unacceptable(
            "wrong_type",
            f"expected the name of a branch, a string, got {offered(value)}",
            pointer="/branch",
        )
    return value


def parse_if_match(value: str | None) -> int | None:
    """The version that `If-Match: "41"` asks for; `*` asks for none in particular.

    Raises:
        Malformed: anything else.
    """
    if value is None or value.strip() == "*":
        return None
    match = _ETAG.fullmatch(value.strip())
    if match is None:
        raise Malformed("bad_if_match", 'expected If-Match to be a quoted version, like "41", or *')
    return int(match.group(1))


def _window(limits: Settings) -> str:
    """How long a key is remembered: seconds of serving, and so many of the newest for longer."""
    return f"{limits.idempotency_window_s:.15g};keys={limits.idempotency_keys}"


def _key_text(scope: Scope) -> str | None:
    """The Idempotency-Key of a request, as it was sent.

    Raises:
        Malformed: `bad_idempotency_key`.
    """
    texts: list[str] = [value.decode("latin-1") for name, value in scope["headers"] if name == _KEY]
    if not texts:
        return None
    if len(texts) > 1:
        raise Malformed("bad_idempotency_key", "expected one Idempotency-Key, got several")
    return texts[0]
