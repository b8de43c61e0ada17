"""What a good answer of the upstream says."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from app.errors import UpstreamFailed
from app.types import Embedded, FloatArray, Json

_MAX_NAME = 256
_NUMBERS = (int, float)


def read_answer(body: bytes, *, count: int) -> Embedded:
    """The embeddings in an answer, in the order of the request.

    Base64 was asked for; lists of numbers, which some servers send all the same, are read too.

    Raises:
        UpstreamFailed: `upstream_malformed`.
    """
    try:
        document = orjson.loads(body)
        rows = _rows(document["data"], count)
        usage = document.get("usage") or {}
        embedded = Embedded(
            hidden_states=rows,
            model=check_upstream_name(document["model"]),
            prompt_tokens=_count(usage, "prompt_tokens"),
            total_tokens=_count(usage, "total_tokens"),
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        raise UpstreamFailed(
            "upstream_malformed",
            f"the upstream's answer is not that of OpenAI's protocol: expected model, and data "
            f"with {count} embeddings of one width",
        ) from None
    if not np.isfinite(rows).all():
        raise UpstreamFailed(
            "upstream_malformed", "the upstream's embeddings hold NaN or infinite numbers"
        )
    return embedded


def check_upstream_name(name: object) -> str:
    """What the upstream calls a model, when it can stand in a header, a log and a file.

    Raises:
        ValueError: it cannot.
    """
    is_text = isinstance(name, str) and name.isascii() and name.isprintable()
    if is_text and 0 < len(str(name)) <= _MAX_NAME:
        return str(name)
    raise ValueError("not a name")


def joined(parts: Sequence[Embedded]) -> Embedded:
    """The answers to the batches of one request, as one.

    Raises:
        UpstreamFailed: `upstream_malformed`: they are of several models.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.model, part.hidden_states.shape[1]) for part in parts}) > 1:
        raise UpstreamFailed(
            "upstream_malformed",
            "the upstream answered one request with embeddings of several models; send it again",
        )
    return Embedded(
        hidden_states=np.concatenate([part.hidden_states for part in parts]),
        model=parts[0].model,
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        total_tokens=sum(part.total_tokens for part in parts),
    )


def _rows(items: list[Json], count: int) -> FloatArray:
    vectors = {item.get("index", place): item["embedding"] for place, item in enumerate(items)}
    if len(items) != count:
        raise ValueError("another number of embeddings")
    # A missing index is a LookupError, another width than the first row's a ValueError.
    rows = np.stack([_vector(vectors[index]) for index in range(count)])
    if not rows.shape[1]:
        raise ValueError("embeddings without numbers")
    return rows


def _vector(embedding: Any) -> FloatArray:
    if isinstance(embedding, str):
        return np.frombuffer(a2b_base64(embedding, strict_mode=True), "<f4")
    if not all(type(number) in _NUMBERS for number in embedding):
        raise TypeError("not numbers")
    with np.errstate(over="ignore"):  # an infinity is refused with the others
        return np.array(embedding, np.float64).astype(np.float32)


def _count(usage: Json, name: str) -> int:
    """What was counted; 0 where it was not."""
    value = usage.get(name)
    return value if type(value) is int and value >= 0 else 0
