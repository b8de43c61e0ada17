"""Digests of named arrays: the same bits everywhere give the same word.

The hashed bytes, integers unsigned 64-bit little-endian, `text` meaning length then UTF-8:

    number of arrays
    for each array in the order of its name:
        text name
        text dtype          numpy's little-endian form: `<f4`, `<i8`, `|u1`, `|b1`
        number of dimensions, then each size
        number of bytes, then the values, little-endian, row-major
    only with scalars:
        text of their JSON  sorted keys, no spaces, ASCII, shortest digits
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from app.types import NamedArrays, TrainerState

DIGEST_LENGTH = 16


def digest(arrays: NamedArrays, scalars: Mapping[str, Any] | None = None) -> str:
    """SHA-256, in hex, over the arrays in name order and the scalars, as the module says.

    >>> import numpy as np
    >>> short_digest(digest({"Q_reduced": np.eye(2, dtype=np.float32)}))
    'e186e8d628d419f5'
    """
    hashed = sha256(_integers(len(arrays)))
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        hashed.update(_text(name) + _text(little.dtype.str))
        hashed.update(_integers(little.ndim, *little.shape, little.nbytes))
        hashed.update(little.data)
    if scalars is not None:
        hashed.update(_text(json.dumps(scalars, sort_keys=True, separators=(",", ":"))))
    return hashed.hexdigest()


def state_digest(state: TrainerState) -> str:
    """The digest of everything that learning needs: arrays, hyper-parameters, counters."""
    counters = {"version": state.version, "step": state.step}
    return digest(state.arrays, {**state.scalars, **counters})


def short_digest(full: str) -> str:
    """The first `DIGEST_LENGTH` digits: what answers are stamped with."""
    return full[:DIGEST_LENGTH]


def _integers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _integers(len(encoded)) + encoded
