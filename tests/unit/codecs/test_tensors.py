from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from app.codecs import FILE_LIMITS, pack, unpack
from app.errors import ArtifactInvalid, SlimvecError
from tests.unit.codecs.test_safetensors import described, headed

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")

any_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_side=3, max_dims=4))
)
files = st.dictionaries(st.text("abQ._0", min_size=1, max_size=4), any_array, max_size=5)


def bits(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in sorted(arrays.items())}


@given(files, st.dictionaries(st.text("abc"), st.text("abcé")))
def test_unpack_gives_back_what_pack_was_given(
    tensors: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    unpacked, unpacked_metadata = unpack(pack(tensors, metadata))
    assert (bits(unpacked), unpacked_metadata) == (bits(tensors), metadata)


@given(files)
def test_the_library_and_we_read_each_other(tensors: dict[str, NDArray[Any]]) -> None:
    assert bits(load(pack(tensors, {}))) == bits(tensors)
    assert bits(unpack(save(tensors))[0]) == bits(tensors)


def test_equal_input_gives_equal_bytes_whatever_the_order() -> None:
    one, two = np.zeros(1, np.float32), np.ones(3, np.uint8)
    first = pack({"a": one, "b": two}, {"x": "1", "y": "2"})
    second = pack({"b": two, "a": one}, {"y": "2", "x": "1"})
    assert first == second


def test_every_array_of_a_file_is_aligned_in_it() -> None:
    tensors: dict[str, Any] = {
        "a": np.ones(3, np.uint8),
        "b": np.ones(1),
        "c": np.ones(1, np.float32),
    }
    data = np.frombuffer(bytearray(pack(tensors, {})), np.uint8)
    assert all(np.shares_memory(array, data) for array in unpack(data.data)[0].values())


def test_half_width_floats_become_float32() -> None:
    (array,) = unpack(save({"a": np.array([1, -2], np.float16)}))[0].values()
    assert (array.dtype.name, array.tolist()) == ("float32", [1, -2])


def test_nan_and_infinity_are_kept() -> None:
    array = np.array([np.nan, np.inf], np.float32)
    assert bits(unpack(pack({"a": array}, {}))[0]) == bits({"a": array})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        headed(b"{}" + b" " * FILE_LIMITS.header_bytes, b""),
        described(bytes(7)),
        described(bytes(9)),
        described(shape=[0, 2**62], data_offsets=[0, 0], values=b""),
        described(b"\x02" * 8, dtype="BOOL", shape=[8]),
        described(dtype="F8_E5M2", shape=[8]),
    ],
)
def test_a_damaged_file_is_an_invalid_artifact(data: bytes) -> None:
    with pytest.raises(ArtifactInvalid):
        unpack(data)


@given(st.data())
def test_a_damaged_byte_is_read_as_the_library_reads_it_or_refused(data: st.DataObject) -> None:
    packed = bytearray(pack({"a": np.ones(2, np.float32), "b": np.ones(3, np.uint8)}, {"k": "v"}))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpacked, _ = unpack(packed)
    except SlimvecError:
        return
    assert bits(unpacked) == bits(load(bytes(packed)))


def test_the_library_refuses_what_a_hole_or_an_overlap_makes() -> None:
    for data in (described(bytes(12), data_offsets=[4, 12]), described(bytes(9))):
        with pytest.raises(SafetensorError):
            load(data)
