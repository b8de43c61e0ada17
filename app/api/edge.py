"""What every route needs: the verbs, the settings, the counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from app.api.answer import Answer, Headers
from app.api.asgi import Receive, Scope
from app.api.gate import Gate
from app.api.inference.inference import Inference
from app.api.negotiation import JSON
from app.api.streams.open import OpenStreams
from app.codecs import Body, BodySchema, Buffer, Codec
from app.errors import Malformed, Unacceptable
from app.service import Service, make_key
from app.settings import Settings
from app.telemetry import Metrics
from app.types import ID_FIELDS, FloatArray, Key, Reduced, Stamp, TrainStep

# What takes about a millisecond: a hop to another thread is worth it for more.
_INLINE_JSON_BYTES = 1 << 20
_INLINE_BINARY_BYTES = 4 << 20
_INLINE_HASHED_BYTES = 1 << 20
_INLINE_TEXT_NUMBERS = 1 << 15
_INLINE_BINARY_NUMBERS = 1 << 20
_NO_FIELDS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Edge:
    """The collaborators of a route."""

    service: Service
    settings: Settings
    metrics: Metrics
    gate: Gate
    streams: OpenStreams = field(default_factory=OpenStreams)
    inference: Inference = field(default_factory=Inference)


# A route whose body is raw bytes: it is called without any framework in between.
RawRoute: TypeAlias = Callable[[Edge, str, Scope, Receive], Awaitable[Answer]]


# A version answers many requests, most of them in one media type.
@lru_cache(maxsize=256)
def stamp_headers(media_type: str, stamp: Stamp) -> Headers:
    """The headers that say what an answer is and which weights made it."""
    return Headers(
        {
            "content-type": media_type,
            "model-name": stamp.model,
            "model-version": str(stamp.version),
            "model-digest": stamp.digest,
        }
    )


def query_options(scope: Scope, allowed: frozenset[str]) -> dict[str, Any]:
    """The query parameters, each given once.

    Raises:
        Malformed: one is given twice.
        Unacceptable: one that this route does not know.
    """
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs):
        raise Malformed("duplicate_key", "expected each query parameter once")
    if not options.keys() <= allowed:
        names = ", ".join(sorted(allowed)) or "none"
        raise Unacceptable("unknown_field", f"expected only these query parameters: {names}")
    return options


def id_fields(edge: Edge, model: str) -> frozenset[str]:
    """The arrays of a body that are ids for this model; none where there is no such model."""
    return ID_FIELDS if edge.service.takes_ids(model) else _NO_FIELDS


async def decode(edge: Edge, reader: Codec, body: Buffer, schema: BodySchema) -> Body:
    """The arrays and options of a body; beside the event loop where that takes long."""
    if is_long_to_decode(body, is_json=reader.media_type == JSON):
        return await edge.service.aside(partial(reader.decode, body, schema))
    return reader.decode(body, schema)


def is_long_to_decode(body: Buffer, *, is_json: bool) -> bool:
    """Whether decoding takes so long that it is done beside the event loop."""
    return len(body) > (_INLINE_JSON_BYTES if is_json else _INLINE_BINARY_BYTES)


def is_long_to_encode(reduced: Reduced, *, is_text: bool) -> bool:
    """Whether encoding takes so long that it is done beside the event loop."""
    return reduced.array.size > (_INLINE_TEXT_NUMBERS if is_text else _INLINE_BINARY_NUMBERS)


def sender_of(scope: Scope) -> str:
    """The id of the API key that a request came with; empty where nobody needs one."""
    sender: str = scope.get("sender", "")
    return sender


async def key_of(edge: Edge, scope: Scope, text: str, step: TrainStep) -> Key:
    """The Idempotency-Key of a step, hashed beside the event loop where that takes long.

    Raises:
        Malformed: `bad_idempotency_key`.
    """
    make = partial(make_key, text, sender_of(scope), step)
    is_long = step.batch.nbytes > _INLINE_HASHED_BYTES
    return await edge.service.aside(make) if is_long else make()


def hidden_states_of(body: Body) -> FloatArray:
    """The one array that every verb needs.

    Raises:
        Unacceptable: it is missing.
    """
    try:
        return body.arrays["hidden_states"]
    except KeyError:
        raise Unacceptable(
            "missing_field",
            "expected the field hidden_states, of shape (…, input_size)",
            pointer="/hidden_states",
        ) from None
