from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from app.codecs import CODECS
from app.types import Reduced, Stamp
from tests.unit.codecs.bodies import SCHEMA, hidden_states, refusal

SAFETENSORS = "application/x-safetensors"
ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def headed(header: object, values: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def described(values: bytes = bytes(8), **entry: object) -> bytes:
    return headed({"hidden_states": ENTRY | entry}, values)


def test_reads_what_the_library_writes() -> None:
    arrays: dict[str, Any] = {
        "hidden_states": np.arange(6).reshape(2, 3).astype(np.float16),
        "targets": np.arange(4).reshape(2, 2).astype(np.float64),
    }
    decoded = CODECS[SAFETENSORS].decode(save(arrays, {"key": "1"}), SCHEMA)
    assert {name: (array.dtype.name, array.tolist()) for name, array in decoded.arrays.items()} == {
        "hidden_states": ("float32", [[0, 1, 2], [3, 4, 5]]),
        "targets": ("float32", [[0, 1], [2, 3]]),
    }


def test_reads_bfloat16_exactly() -> None:
    words = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], "<u2")
    array = hidden_states(SAFETENSORS, described(words.tobytes(), dtype="BF16", shape=[4]))
    np.testing.assert_array_equal(array, np.array([1, -2, np.inf, 2.0**-133], np.float32))


def test_aligned_float32_is_a_view_of_the_body() -> None:
    body = np.frombuffer(bytearray(save({"hidden_states": np.ones(2, np.float32)})), np.uint8)
    assert np.shares_memory(hidden_states(SAFETENSORS, body.data), body)


def test_the_library_reads_the_answer() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    answer = CODECS[SAFETENSORS].encode(Reduced(array, Stamp("news", 7, "00ff")))
    np.testing.assert_array_equal(load(answer)["reduced"], array)


def test_the_answer_has_these_bytes() -> None:
    header = (
        b'{"__metadata__":{"digest":"00ff","model":"news","version":"7"},'
        b'"reduced":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}              '
    )
    answer = CODECS[SAFETENSORS].encode(
        Reduced(np.array([1.0, -2.0], np.float32), Stamp("news", 7, "00ff"))
    )
    assert answer == headed(header, b"\x00\x00\x80\x3f\x00\x00\x00\xc0")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"GGUF", "malformed_safetensors"),
        (b"PK\x03\x04" + bytes(40), "malformed_safetensors"),
        ((2**63).to_bytes(8, "little") + bytes(8), "malformed_safetensors"),
        ((100).to_bytes(8, "little") + b"{}", "malformed_safetensors"),
        (headed(b"{}" + b" " * (64 << 10)), "malformed_safetensors"),
        (headed(b""), "malformed_safetensors"),
        (headed([]), "malformed_safetensors"),
        (headed(b"[" * 60_000), "malformed_safetensors"),
        (headed(b'{"hidden_states":%b,"hidden_states":%b}' % ((json.dumps(ENTRY).encode(),) * 2)),
         "malformed_safetensors"),
        (headed({"hidden_states": ENTRY, "__metadata__": {"a": 1}}), "malformed_safetensors"),
        (headed({"hidden_states": ENTRY, "__metadata__": []}), "malformed_safetensors"),
        (headed({str(i): ENTRY | {"shape": [0], "data_offsets": [0, 0]} for i in range(17)}, b""),
         "malformed_safetensors"),
        (headed({"hidden_states": []}), "malformed_safetensors"),
        (described(extra=1), "malformed_safetensors"),
        (described(shape=2), "malformed_safetensors"),
        (described(data_offsets=[0]), "malformed_safetensors"),
        (described(data_offsets=[0, True]), "malformed_safetensors"),
        (described(data_offsets=[0.0, 8.0]), "malformed_safetensors"),
        (described(data_offsets=[8, 0]), "malformed_safetensors"),
        (described(data_offsets=[-8, 0]), "malformed_safetensors"),
        (described(data_offsets=[0, -8]), "malformed_safetensors"),
        (described(bytes(12), data_offsets=[4, 12]), "malformed_safetensors"),
        (headed({"hidden_states": ENTRY, "targets": ENTRY}), "malformed_safetensors"),
        (headed({"hidden_states": ENTRY, "targets": ENTRY | {"data_offsets": [12, 20]}}, bytes(20)),
         "malformed_safetensors"),
        (described(bytes(9)), "length_mismatch"),
        (described(bytes(7)), "length_mismatch"),
        (headed({}), "length_mismatch"),
        (headed({"other": ENTRY}), "unknown_field"),
        (headed({"../../x": ENTRY}), "unknown_field"),
    ],
)  # fmt: skip
def test_refuses_a_header_that_lies(body: bytes, code: str) -> None:
    assert refusal(SAFETENSORS, body) == ("Unacceptable", code, "")


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"dtype": "I128"}, "unsupported_dtype"),
        ({"dtype": "F8_E4M3"}, "unsupported_dtype"),
        ({"dtype": None}, "unsupported_dtype"),
        ({"dtype": "I64", "shape": [1]}, "unsupported_dtype"),
        ({"dtype": "BOOL", "shape": [8]}, "unsupported_dtype"),
        ({"shape": [3]}, "length_mismatch"),
        ({"shape": [-2]}, "wrong_type"),
        ({"shape": [True, 2]}, "wrong_type"),
        ({"shape": ["2"]}, "wrong_type"),
        ({"shape": [2.0]}, "wrong_type"),
        ({"shape": [], "data_offsets": [0, 4]}, "wrong_type"),
        ({"shape": [16, 2**60 + 2]}, "shape_overflow"),
        ({"shape": [0, 2**62], "data_offsets": [0, 0]}, "shape_overflow"),
        ({"shape": [10**400]}, "malformed_safetensors"),
        ({"shape": [1] * 9}, "too_many_dimensions"),
        ({"shape": [0, 2], "data_offsets": [0, 0]}, "empty_batch"),
        ({"dtype": "F64", "shape": [1]}, "out_of_range"),
    ],
)
def test_refuses_an_entry_that_cannot_be(entry: dict[str, Any], code: str) -> None:
    _, num_bytes = entry.get("data_offsets", [0, 8])
    values = np.array([1e39]).tobytes()[:num_bytes]
    kind, found, _ = refusal(SAFETENSORS, described(values, **entry))
    assert (kind, found) == ("Unacceptable", code)
