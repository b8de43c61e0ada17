"""What every codec promises; `tests/unit/codecs/test_battery.py` runs it over the registry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from app.codecs import Body, BodySchema, Codec
from app.errors import Malformed, SlimvecError, TooLarge
from app.types import FloatArray, Reduced, Stamp

Check = Callable[[Codec], None]

# An answer of each format is also a body of it, once its stamps count as options.
SCHEMA = BodySchema(
    arrays=frozenset({"hidden_states", "reduced"}),
    options=frozenset({"shape", "model", "version", "digest"}),
    max_rows=3**7,
)
STAMP = Stamp("news", 7, "0123456789abcdef")

finite_arrays = arrays(
    np.float32,
    array_shapes(min_dims=1, max_dims=8, max_side=3),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def encoded(codec: Codec, array: FloatArray) -> bytes:
    return codec.encode(Reduced(array, STAMP))


def only_array(body: Body) -> FloatArray:
    (array,) = body.arrays.values()
    return array


def bits(array: FloatArray) -> tuple[tuple[int, ...], str, bytes]:
    return array.shape, array.dtype.str, array.tobytes()


def refusal(codec: Codec, body: bytes) -> SlimvecError | None:
    try:
        codec.decode(body, SCHEMA)
    except SlimvecError as error:
        return error
    return None


def check_same_bits_come_back(codec: Codec) -> None:
    @given(finite_arrays)
    def same_bits(array: FloatArray) -> None:
        assert bits(only_array(codec.decode(encoded(codec, array), SCHEMA))) == bits(array)

    same_bits()


def check_arrays_are_aligned_and_c_contiguous(codec: Codec) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    body = encoded(codec, array)
    for shift in range(8):
        shifted = memoryview(bytes(shift) + body)[shift:]
        flags = only_array(codec.decode(shifted, SCHEMA)).flags
        assert flags.aligned
        assert flags.c_contiguous


def check_writes_any_memory_order(codec: Codec) -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert encoded(codec, array) == encoded(codec, np.ascontiguousarray(array))


def check_reads_every_kind_of_buffer(codec: Codec) -> None:
    body = encoded(codec, np.ones((2, 3), np.float32))
    buffers = (body, bytearray(body), memoryview(body))
    assert len({bits(only_array(codec.decode(buffer, SCHEMA))) for buffer in buffers}) == 1


def check_same_input_same_bytes(codec: Codec) -> None:
    array = np.ones((2, 3), np.float32)
    assert len({encoded(codec, array) for _ in range(16)}) == 1


def check_does_not_modify_its_input(codec: Codec) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    body = bytearray(encoded(codec, array))
    before = bytes(body)
    codec.decode(body, SCHEMA)
    assert (bytes(body), array.ravel().tolist()) == (before, [0, 1, 2, 3, 4, 5])


def check_refuses_an_empty_body(codec: Codec) -> None:
    error = refusal(codec, b"")
    assert isinstance(error, Malformed)
    assert error.code == "empty_body"


def check_refuses_too_many_rows(codec: Codec) -> None:
    error = refusal(codec, encoded(codec, np.zeros((SCHEMA.max_rows + 1, 1), np.float32)))
    assert isinstance(error, TooLarge)
    assert error.code == "too_many_rows"


def check_refuses_every_truncation_and_extension(codec: Codec) -> None:
    body = encoded(codec, np.ones((2, 3), np.float32))
    assert all(refusal(codec, body[:end]) for end in range(len(body)))
    assert refusal(codec, body + b"x")


def check_noise_never_escapes_as_another_error(codec: Codec) -> None:
    body = encoded(codec, np.ones((2, 3), np.float32))

    @given(st.integers(0, len(body) - 1), st.binary(max_size=8), st.integers(0, 8))
    def survives(at: int, inserted: bytes, removed: int) -> None:
        refusal(codec, body[:at] + inserted + body[at + removed :])

    @given(st.binary(max_size=64))
    def survives_anything(noise: bytes) -> None:
        refusal(codec, noise)

    survives()
    survives_anything()


def check_never_echoes_the_body(codec: Codec) -> None:
    body = encoded(codec, np.ones((2, 3), np.float32))
    for at in range(len(body)):
        error = refusal(codec, body[:at] + b"Zx9qSecret" + body[at:])
        assert error is None or "Zx9q" not in f"{error.detail}{error.pointer}"


def check_works_after_a_refusal_that_is_kept(codec: Codec) -> None:
    body = encoded(codec, np.ones((2, 3), np.float32))
    kept = [refusal(codec, body[:-1]) for _ in range(3)]
    assert (refusal(codec, body), len(kept)) == (None, 3)


CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}
