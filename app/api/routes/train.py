"""POST /train-step: one update of the weights, answered with the version that it made."""

from __future__ import annotations

import re

import orjson

from app.api.asgi import Answer, Receive, Scope, header, read_body, single_header
from app.api.edge import Edge, hidden_states_of, query_options, stamp_headers
from app.api.negotiation import JSON, choose_reader
from app.codecs import BodySchema
from app.config import parse_loss
from app.errors import Malformed, Unacceptable
from app.types import Batch, Stamp, TrainStep

READS = frozenset({JSON, "application/x-safetensors"})
_ARRAYS = frozenset({"hidden_states", "targets", "sample_weights"})
_OPTIONS = frozenset({"loss"})
_NO_QUERY: frozenset[str] = frozenset()
_ETAG = re.compile(r'"([0-9]{1,18})"')


async def train_step(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Applies one update: forward, loss, backward, optimizer step.

    The answer names the version and digest that it made. A refused step changes nothing.
    """
    reader = choose_reader(scope, READS)
    is_json = reader.media_type == JSON
    limits = edge.settings
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    _refuse_key(scope)
    if_version = parse_if_match(single_header(scope, b"if-match"))
    schema = BodySchema(arrays=_ARRAYS, options=_OPTIONS, max_rows=limits.max_rows)
    body = reader.decode(await read_body(scope, receive, limit), schema)
    options = body.options
    if scope["query_string"]:
        options = options | query_options(scope, _NO_QUERY if is_json else _OPTIONS)
    hidden_states_of(body)
    step = TrainStep(
        batch=Batch(**body.arrays),
        loss=parse_loss(options["loss"]) if "loss" in options else None,
        if_version=if_version,
    )
    answer = await edge.service.train_step(model, step)
    edge.metrics.rows.labels(model, "train").inc(answer.rows)
    stamp = Stamp(answer.model, answer.version, answer.digest)
    return Answer(orjson.dumps(answer), {"content-type": JSON, **stamp_headers(stamp)})


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


def _refuse_key(scope: Scope) -> None:
    # Ignoring the key would break the promise that a sender of one relies on.
    if header(scope, b"idempotency-key") is not None:
        raise Unacceptable(
            "idempotency_unsupported",
            "this server keeps no record of Idempotency-Key yet; send the step without it, "
            "or use If-Match to apply it at most once",
        )
