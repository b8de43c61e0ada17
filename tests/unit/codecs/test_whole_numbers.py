"""Fields of whole numbers may come in integer dtypes; the others may not."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.codecs import CODECS, BodySchema, pack
from app.errors import Unacceptable

JSON, SAFETENSORS = "application/json", "application/x-safetensors"
SCHEMA = BodySchema(
    arrays=frozenset({"hidden_states", "labels"}),
    options=frozenset(),
    max_rows=100,
    whole=frozenset({"labels"}),
)


def as_json(name: str, array: NDArray[Any]) -> bytes:
    data = b64encode(array.tobytes()).decode()
    fields = {"shape": list(array.shape), "dtype": array.dtype.name, "data": data}
    return json.dumps({name: fields}).encode()


def as_safetensors(name: str, array: NDArray[Any]) -> bytes:
    return pack({name: array}, {})


WRITERS = {JSON: as_json, SAFETENSORS: as_safetensors}


@pytest.mark.parametrize("media_type", WRITERS)
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float32"])
def test_labels_of_every_dtype_are_the_same_numbers(media_type: str, dtype: str) -> None:
    body = WRITERS[media_type]("labels", np.array([0, 1, 1], dtype))
    array = CODECS[media_type].decode(body, SCHEMA).arrays["labels"]
    assert (array.dtype.name, array.tolist()) == ("float32", [0, 1, 1])


@pytest.mark.parametrize("media_type", WRITERS)
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_integer_dtypes_of_vectors_are_refused(media_type: str, dtype: str) -> None:
    body = WRITERS[media_type]("hidden_states", np.array([0, 1, 1], dtype))
    with pytest.raises(Unacceptable) as refusal:
        CODECS[media_type].decode(body, SCHEMA)
    assert refusal.value.code == "unsupported_dtype"


@pytest.mark.parametrize("media_type", WRITERS)
@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1, 2**31 - 1])
def test_whole_numbers_that_float32_would_round_are_refused(media_type: str, value: int) -> None:
    body = WRITERS[media_type]("labels", np.array([5, value], "<i4"))
    with pytest.raises(Unacceptable, match="up to 16777216") as refusal:
        CODECS[media_type].decode(body, SCHEMA)
    assert (refusal.value.code, refusal.value.pointer) == ("out_of_range", "/labels/1")


def test_the_smallest_int64_is_refused_as_well() -> None:
    body = as_safetensors("labels", np.array([-(2**63)], "<i8"))
    with pytest.raises(Unacceptable, match="up to 16777216"):
        CODECS[SAFETENSORS].decode(body, SCHEMA)
