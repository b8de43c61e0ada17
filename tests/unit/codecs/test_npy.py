from __future__ import annotations

import io
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from app.codecs import CODECS
from app.errors import SlimvecError
from app.types import FloatArray, Reduced, Stamp
from tests.unit.codecs.bodies import SCHEMA, hidden_states, refusal

NPY = "application/x-npy"
STAMP = Stamp("m", 1, "")
TWO_FLOATS = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"

any_text = st.text(string.printable, max_size=20)
any_shape = st.lists(st.integers(0, 4), max_size=4).map(lambda sizes: str(tuple(sizes)))


def saved(array: NDArray[Any], version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def headed(header: bytes, values: bytes = bytes(8)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + values


def described(
    descr: str = "'<f4'", fortran: str = "False", shape: str = "(2,)", values: bytes = bytes(8)
) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    return headed(header.encode(), values)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_reads_what_numpy_writes(
    order: Callable[[NDArray[Any]], NDArray[Any]], dtype: str, version: tuple[int, int]
) -> None:
    array = order(np.arange(24).reshape(2, 3, 4).astype(dtype))
    decoded = hidden_states(NPY, saved(array, version))
    assert decoded.dtype == np.float32
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, array)


@given(arrays(np.uint32, array_shapes(max_dims=6, max_side=3)))
def test_writes_what_numpy_writes(words: FloatArray) -> None:
    array = words.view(np.float32)
    assert CODECS[NPY].encode(Reduced(array, STAMP)) == saved(array)


def test_aligned_float32_is_a_view_of_the_body() -> None:
    body = np.frombuffer(bytearray(saved(np.ones(2, np.float32))), np.uint8)
    assert np.shares_memory(hidden_states(NPY, body.data), body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x93NUMPY\x01\x00\x04\x00{'d\n", "malformed_npy"),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4, "malformed_npy"),
        (b"\x93NUMPY\x09\x00" + saved(np.ones(2, np.float32))[8:], "malformed_npy"),
        (b"PK\x03\x04" + bytes(40), "malformed_npy"),
        (described(values=b"")[:-1], "malformed_npy"),
        (described("'<f4'", "false"), "malformed_npy"),
        (described(shape="(2)"), "malformed_npy"),
        (described(shape="(02,)"), "malformed_npy"),
        (described(shape="(2,-1)"), "malformed_npy"),
        (described(shape="(True,)"), "malformed_npy"),
        (described(shape="(" * 1000 + ")" * 1000), "malformed_npy"),
        (described(shape="__import__('os')"), "malformed_npy"),
        (headed(TWO_FLOATS + b" " * 5000 + b"\n"), "malformed_npy"),
        (headed(TWO_FLOATS + b"\n" + bytes(9))[:-17], "malformed_npy"),
        (described("'>f4'"), "unsupported_dtype"),
        (described("'|O'"), "unsupported_dtype"),
        (described("'<i8'"), "unsupported_dtype"),
        (described("'<c8'"), "unsupported_dtype"),
        (described("'<U4'"), "unsupported_dtype"),
        (described("'<M8[s]'"), "unsupported_dtype"),
        (described("[('a', '<f4')]"), "unsupported_dtype"),
        (described(shape="(1099511627776,)"), "length_mismatch"),
        (described(shape="(4611686018427387904, 4)"), "shape_overflow"),
        (described(shape="(0, 9223372036854775807)"), "shape_overflow"),
        (described(shape=f"({'9' * 4000},)"), "shape_overflow"),
        (described(shape="(1, 1, 1, 1, 1, 1, 1, 1, 2)"), "too_many_dimensions"),
        (described(shape="()"), "wrong_type"),
        (described(shape="(0, 2)"), "empty_batch"),
        (described(shape="(3,)"), "length_mismatch"),
        (described(values=bytes(7)), "length_mismatch"),
        (described(values=bytes(9)), "length_mismatch"),
    ],
)
def test_refuses_a_header_that_lies(body: bytes, code: str) -> None:
    assert refusal(NPY, body) == ("Unacceptable", code, "/hidden_states")


def test_the_14_bytes_that_make_numpy_raise_a_tokenizer_error_are_refused() -> None:
    body = b"\x93NUMPY\x01\x00\x04\x00(((("
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is the point below
        np.load(io.BytesIO(body))
    assert not isinstance(raised.value, ValueError)
    assert refusal(NPY, body) == ("Unacceptable", "malformed_npy", "/hidden_states")


def test_float64_beyond_float32_is_refused_and_infinity_is_not() -> None:
    assert refusal(NPY, saved(np.array([[1.0, 1e39]]))) == (
        "Unacceptable", "out_of_range", "/hidden_states/0/1",
    )  # fmt: skip
    assert hidden_states(NPY, saved(np.array([np.inf, 1.0]))).tolist() == [np.inf, 1.0]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "descr": st.sampled_from(["'<f4'", "'<f8'", "'>f4'", "'|O'", "[]"]) | any_text,
            "fortran": st.sampled_from(["True", "False", "None"]) | any_text,
            "shape": any_shape | any_text,
            "values": st.binary(max_size=64),
        },
    )
)
def test_a_wild_header_is_read_as_numpy_reads_it_or_refused(fields: dict[str, Any]) -> None:
    body = described(**fields)
    try:
        array = CODECS[NPY].decode(body, SCHEMA).arrays["hidden_states"]
    except SlimvecError:
        return
    np.testing.assert_array_equal(array, np.load(io.BytesIO(body)).astype(np.float32))
