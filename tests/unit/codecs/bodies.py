"""Schemas and refusals that the codec tests share."""

from __future__ import annotations

import pytest

from app.codecs import CODECS, BodySchema, Buffer
from app.errors import SlimvecError
from app.types import FloatArray

SCHEMA = BodySchema(
    arrays=frozenset({"hidden_states", "targets"}),
    options=frozenset({"version", "loss"}),
    max_rows=1000,
)


def hidden_states(media_type: str, body: Buffer) -> FloatArray:
    return CODECS[media_type].decode(body, SCHEMA).arrays["hidden_states"]


def refusal(media_type: str, body: Buffer) -> tuple[str, str, str]:
    """Class, code and pointer of the refusal."""
    with pytest.raises(SlimvecError) as refused:
        CODECS[media_type].decode(body, SCHEMA)
    error = refused.value
    return type(error).__name__, error.code, error.pointer
