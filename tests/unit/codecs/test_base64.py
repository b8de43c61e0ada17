from __future__ import annotations

import json
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from app.codecs import CODECS
from app.types import FloatArray, Reduced, Stamp
from tests.unit.codecs.bodies import SCHEMA, hidden_states, refusal

JSON = "application/json"
TWO = b64encode(np.array([1.0, -2.0], "<f4").tobytes()).decode()


def body(**fields: object) -> bytes:
    return json.dumps(
        {"hidden_states": {"shape": [2], "dtype": "float32", "data": TWO} | fields}
    ).encode()


def data(values: object, dtype: str) -> str:
    return b64encode(np.array(values, dtype).tobytes()).decode()


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("float32", TWO),
        ("float16", data([1, -2], "<f2")),
        ("float64", data([1, -2], "<f8")),
        ("bfloat16", data([0x3F80, 0xC000], "<u2")),
    ],
)
def test_reads_each_float_dtype(dtype: str, text: str) -> None:
    array = hidden_states(JSON, body(dtype=dtype, data=text))
    assert (array.dtype.name, array.tolist()) == ("float32", [1, -2])


@given(arrays(np.uint32, array_shapes(max_dims=6, max_side=3)))
def test_gives_the_same_bits_back_even_of_nan(words: FloatArray) -> None:
    array = words.view(np.float32)
    answer = CODECS[JSON].encode(Reduced(array, Stamp("m", 1, "")), encoding="base64")
    sent = json.dumps({"hidden_states": json.loads(answer)["reduced"]}).encode()
    assert hidden_states(JSON, sent).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"data": "@ACAPwAAAMA="}, "invalid_base64", "/data"),
        ({"data": "AACAPw\nAAMA="}, "invalid_base64", "/data"),
        ({"data": "AACA\n\n\n\nAMA="}, "invalid_base64", "/data"),
        ({"data": "AACAPwAAAM-="}, "invalid_base64", "/data"),
        ({"data": "AACAPw=AAAM="}, "invalid_base64", "/data"),
        ({"data": "ÄACAPwAAAMA="}, "invalid_base64", "/data"),
        ({"data": TWO[:-1]}, "length_mismatch", ""),
        ({"data": TWO + "="}, "length_mismatch", ""),
        ({"data": TWO + "AAAA"}, "length_mismatch", ""),
        ({"data": ""}, "length_mismatch", ""),
        ({"data": None}, "wrong_type", "/data"),
        ({"data": [1, 2]}, "wrong_type", "/data"),
        ({"dtype": "int64"}, "unsupported_dtype", "/dtype"),
        ({"dtype": "fp8"}, "unsupported_dtype", "/dtype"),
        ({"dtype": 32}, "wrong_type", "/dtype"),
        ({"dtype": "float64"}, "length_mismatch", ""),
        ({"shape": [3]}, "length_mismatch", ""),
        ({"shape": 2}, "wrong_type", "/shape"),
        ({"shape": []}, "wrong_type", "/shape"),
        ({"shape": [[2]]}, "wrong_type", "/shape"),
        ({"shape": [2.0]}, "wrong_type", "/shape"),
        ({"shape": [True, 2]}, "wrong_type", "/shape"),
        ({"shape": [-2]}, "wrong_type", "/shape"),
        ({"shape": [0, 2]}, "empty_batch", "/shape"),
        ({"shape": [2, 0]}, "empty_batch", "/shape"),
        ({"shape": [2**32, 2**31]}, "shape_overflow", "/shape"),
        ({"shape": [2**62, 4]}, "shape_overflow", "/shape"),
        ({"shape": [0, 2**63 - 1]}, "shape_overflow", "/shape"),
        ({"shape": [1] * 9}, "too_many_dimensions", "/shape"),
        ({"shape": [1] * 65}, "too_many_dimensions", "/shape"),
        ({"extra": 1}, "unknown_field", ""),
    ],
)  # fmt: skip
def test_refuses_what_the_fields_cannot_mean(
    fields: dict[str, object], code: str, pointer: str
) -> None:
    assert refusal(JSON, body(**fields)) == ("Unacceptable", code, f"/hidden_states{pointer}")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"shape": [1], "dtype": "float32"}, ("Unacceptable", "missing_field", "/hidden_states")),
        ({}, ("Unacceptable", "missing_field", "/hidden_states")),
        (
            {"shape": [1001, 1], "dtype": "float32", "data": ""},
            ("TooLarge", "too_many_rows", "/hidden_states/shape"),
        ),
        (
            {"shape": [1, 2], "dtype": "float64", "data": data([1, 1e39], "<f8")},
            ("Unacceptable", "out_of_range", "/hidden_states/0/1"),
        ),
    ],
)
def test_refuses_missing_fields_and_limits(
    sent: dict[str, object], expected: tuple[str, str, str]
) -> None:
    assert refusal(JSON, json.dumps({"hidden_states": sent}).encode()) == expected


def test_refuses_a_key_given_twice() -> None:
    sent = body().replace(b'"shape": [2]', b'"shape": [1], "shape": [2]')
    assert refusal(JSON, sent) == ("Malformed", "duplicate_key", "/hidden_states")


def test_lists_and_base64_go_together() -> None:
    sent = {"hidden_states": [[1], [2]], "targets": {"shape": [2], "dtype": "float32", "data": TWO}}
    decoded = CODECS[JSON].decode(json.dumps(sent).encode(), SCHEMA)
    assert {name: array.tolist() for name, array in decoded.arrays.items()} == {
        "hidden_states": [[1], [2]],
        "targets": [1, -2],
    }
