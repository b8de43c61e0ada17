"""Which codec reads a body, and which writes the answer."""

from __future__ import annotations

from functools import lru_cache

from app.api.asgi import Scope, headers_of
from app.codecs import CODECS, Codec
from app.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
SAFETENSORS = "application/x-safetensors"


_REMEMBERED_BYTES = 256


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
    content_type = headers_of(scope).get(b"content-type", b"")
    if len(content_type) > _REMEMBERED_BYTES:
        return _essence(content_type, accepted)
    return _essence_once(content_type, accepted)


def choose_writer(scope: Scope, reader: Codec) -> Codec:
    """The codec for the answer: in kind, unless Accept asks for another one.

    The types are taken in the order of their quality, then as they are written.

    Raises:
        NotAcceptable: Accept names only types that nobody writes.
    """
    accept = headers_of(scope).get(b"accept", b"*/*")
    if accept == b"*/*":
        return reader
    media_type = reader.media_type
    if len(accept) > _REMEMBERED_BYTES:
        return CODECS[_preferred(accept, media_type)]
    return CODECS[_preferred_once(accept, media_type)]


def _essence(content_type: bytes, accepted: frozenset[str]) -> str:
    """A media type without its parameters, in lower case."""
    media_type = content_type.decode("latin-1").partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise UnsupportedMediaType(
            "unsupported_media_type",
            f"expected Content-Type to be one of {', '.join(sorted(accepted))}",
        )
    return media_type


def _preferred(accept: bytes, in_kind: str) -> str:
    for media_type in by_quality(accept.decode("latin-1")):
        if media_type in ("*/*", "application/*", in_kind):
            return in_kind
        if media_type in CODECS:
            return media_type
    raise NotAcceptable(
        "not_acceptable", f"expected Accept to allow one of {', '.join(CODECS)}, or */*"
    )


# Clients send the same few headers with every request; long ones are nobody's habit.
_essence_once = lru_cache(maxsize=256)(_essence)
_preferred_once = lru_cache(maxsize=256)(_preferred)


def by_quality(accept: str) -> list[str]:
    """What an Accept or Accept-Encoding allows, in lower case, the most wanted first."""
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
