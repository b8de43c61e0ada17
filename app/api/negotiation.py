"""Which codec reads a body, and which writes the answer."""

from __future__ import annotations

from app.api.asgi import Scope, header
from app.codecs import CODECS, Codec
from app.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
SAFETENSORS = "application/x-safetensors"


def choose_reader(scope: Scope, accepted: frozenset[str]) -> Codec:
    """The codec for the request's Content-Type.

    Raises:
        UnsupportedMediaType: none of `accepted`, or no Content-Type at all.
    """
    return CODECS[choose_media_type(scope, accepted)]


def choose_media_type(scope: Scope, accepted: frozenset[str]) -> str:
    """The request's Content-Type, without its parameters.

    Raises:
        UnsupportedMediaType: none of `accepted`, or no Content-Type at all.
    """
    media_type = _essence(header(scope, b"content-type") or "")
    if media_type not in accepted:
        raise UnsupportedMediaType(
            "unsupported_media_type",
            f"expected Content-Type to be one of {', '.join(sorted(accepted))}",
        )
    return media_type


def choose_writer(scope: Scope, reader: Codec) -> Codec:
    """The codec for the answer: in kind, unless Accept asks for another one.

    The types are taken in the order of their quality, then as they are written.

    Raises:
        NotAcceptable: Accept names only types that nobody writes.
    """
    accept = header(scope, b"accept")
    if accept is None or accept == "*/*":
        return reader
    for media_type in _by_quality(accept):
        if media_type in ("*/*", "application/*", reader.media_type):
            return reader
        if media_type in CODECS:
            return CODECS[media_type]
    raise NotAcceptable(
        "not_acceptable", f"expected Accept to allow one of {', '.join(CODECS)}, or */*"
    )


def _essence(value: str) -> str:
    """A media type without its parameters, in lower case."""
    return value.partition(";")[0].strip().lower()


def _by_quality(accept: str) -> list[str]:
    ranked = []
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        if quality > 0:
            ranked.append((quality, media_type))
    return [media_type for _, media_type in sorted(ranked, key=lambda entry: -entry[0])]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
