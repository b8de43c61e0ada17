"""What the head of a stream's request may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from app.api.asgi import Scope, header
from app.api.edge import query_options
from app.api.routes.train import OPTIONS
from app.api.streams.stream import OnError, StreamOptions
from app.errors import Unacceptable
from app.wording import offered

_ON_ERROR = "on_error"
TEXT = frozenset({_ON_ERROR})
BINARY = TEXT | OPTIONS


def stream_options(
    scope: Scope, model: str, allowed: frozenset[str]
) -> tuple[StreamOptions, Mapping[str, str]]:
    """What the query says about the stream, and about every binary record of it.

    Raises:
        Malformed: a parameter is given twice.
        Unacceptable: one that is unknown, or `on_error` is neither word; a header that means a
            single step.
    """
    _refuse_headers_of_a_step(scope)
    query = query_options(scope, allowed)
    asked = query.pop(_ON_ERROR, "stop")
    on_error: OnError | None = {word: word for word in get_args(OnError)}.get(asked)
    if on_error is None:
        raise Unacceptable(
            "out_of_range",
            f'expected on_error to be "stop" or "skip", got {offered(asked)}',
            pointer="/on_error",
        )
    return StreamOptions(model=model, on_error=on_error), query


def _refuse_headers_of_a_step(scope: Scope) -> None:
    # To ignore one would break the promise that its sender relies on.
    if header(scope, b"idempotency-key") is not None:
        raise Unacceptable(
            "idempotency_unsupported",
            "a stream takes no Idempotency-Key; give each record a key of its own",
        )
    if header(scope, b"if-match") is not None:
        raise Unacceptable(
            "if_match_unsupported",
            "a stream makes many versions and takes no If-Match; send single steps with it, or "
            "records with keys",
        )
