"""Codecs: bytes to arrays and back, one file a media type, found by `CODECS[media_type]`."""

from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Codec, Encoding
from app.codecs.digest import (
    BLOCK_ROWS,
    DIGEST_LENGTH,
    STATE_DIGEST_FORM,
    block_digest,
    blocked_digest,
    digest,
    joined_blocks,
    joined_digest,
    short_digest,
    state_digest,
)
from app.codecs.strict_json import CONFIG_DEPTH, parse_object
from app.codecs.tensors import FILE_LIMITS, REQUEST_LIMITS, Limits, pack, unpack
from app.registry import import_members

import_members(__name__, __path__)

__all__ = [
    "BLOCK_ROWS",
    "CODECS",
    "CONFIG_DEPTH",
    "DIGEST_LENGTH",
    "FILE_LIMITS",
    "REQUEST_LIMITS",
    "STATE_DIGEST_FORM",
    "Body",
    "BodySchema",
    "Buffer",
    "Codec",
    "Encoding",
    "Limits",
    "block_digest",
    "blocked_digest",
    "digest",
    "joined_blocks",
    "joined_digest",
    "pack",
    "parse_object",
    "short_digest",
    "state_digest",
    "unpack",
]
