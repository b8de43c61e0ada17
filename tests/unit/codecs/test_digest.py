from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.codecs import DIGEST_LENGTH, digest, joined_digest, short_digest, state_digest
from app.types import TrainerState

ARRAYS: dict[str, NDArray[Any]] = {
    "b": np.array(1, np.int64),
    "a": np.array([[1.0, -2.0]], np.float32),
}
A = np.array([1, 2], np.float32)


def integer(value: int) -> bytes:
    return value.to_bytes(8, "little")


def test_hashes_exactly_these_bytes() -> None:
    a = integer(1) + b"a" + integer(3) + b"<f4" + integer(2) + integer(1) + integer(2)
    a += integer(8) + b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
    b = integer(1) + b"b" + integer(3) + b"<i8" + integer(0) + integer(8) + integer(1)
    scalars = b'{"lr":0.001,"step":3}'
    whole = integer(2) + a + b
    assert digest(ARRAYS) == hashlib.sha256(whole).hexdigest()
    assert (
        digest(ARRAYS, {"step": 3, "lr": 1e-3})
        == hashlib.sha256(whole + integer(len(scalars)) + scalars).hexdigest()
    )


def test_a_state_is_hashed_by_its_parts() -> None:
    arrays = {"layer.a": ARRAYS["a"], "layer.b": ARRAYS["b"], "optimizer.a.step": A}
    state = TrainerState(version=7, step=3, arrays=arrays, scalars={"optimizer": "Adam"})
    parts = {"layer": digest(ARRAYS), "optimizer": digest({"a.step": A})}
    whole, scalars = integer(2), b'{"optimizer":"Adam","step":3,"version":7}'
    for text in ("layer", parts["layer"], "optimizer", parts["optimizer"]):
        whole += integer(len(text)) + text.encode()
    whole += integer(len(scalars)) + scalars
    assert state_digest(state) == hashlib.sha256(whole).hexdigest()
    assert joined_digest(parts, state.scalars, version=7, step=3) == state_digest(state)


def test_golden() -> None:
    assert short_digest(digest(ARRAYS)) == "035d4b81101457ef"
    assert len(short_digest(digest(ARRAYS))) == DIGEST_LENGTH


@pytest.mark.parametrize(
    "same",
    [
        {"a": A.astype(">f4")},
        {"a": np.array([1, 9, 2, 9], np.float32)[::2]},
    ],
)
def test_memory_order_and_byte_order_do_not_matter(same: dict[str, NDArray[Any]]) -> None:
    assert digest(same) == digest({"a": A})


def test_everything_else_matters() -> None:
    different = [
        digest({}),
        digest({}, {}),
        digest({"a": A}),
        digest({"a": A}, {}),
        digest({"a": A}, {"a": 1}),
        digest({"a": A}, {"a": 1.0}),
        digest({"a": A}, {"a": "1"}),
        digest({"b": A}),
        digest({"a": A[None]}),
        digest({"a": A.astype(np.float64)}),
        digest({"a": A.view(np.int32)}),
        digest({"a": A * np.float32(1 + 2**-23)}),
        digest({"a": np.array([0.0], np.float32)}),
        digest({"a": np.array([-0.0], np.float32)}),
        digest({"a": A, "b": A[:0]}),
    ]
    assert len(set(different)) == len(different)
