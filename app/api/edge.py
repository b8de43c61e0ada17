"""What every route needs: the verbs, the settings, the counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from app.api.asgi import Answer, Receive, Scope
from app.api.gate import Gate
from app.api.streams.open import OpenStreams
from app.codecs import Body
from app.errors import Malformed, Unacceptable
from app.service import Service
from app.settings import Settings
from app.telemetry import Metrics
from app.types import FloatArray, Stamp


@dataclass(frozen=True, slots=True)
class Edge:
    """The collaborators of a route."""

    service: Service
    settings: Settings
    metrics: Metrics
    gate: Gate = field(default_factory=Gate)
    streams: OpenStreams = field(default_factory=OpenStreams)


# A route whose body is raw bytes: it is called without any framework in between.
RawRoute: TypeAlias = Callable[[Edge, str, Scope, Receive], Awaitable[Answer]]


def stamp_headers(stamp: Stamp) -> dict[str, str]:
    """The headers that say which weights made an answer."""
    return {
        "model-name": stamp.model,
        "model-version": str(stamp.version),
        "model-digest": stamp.digest,
    }


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
