from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.codecs.inference import InferenceCodec, InferRequest
from app.codecs.inference_files import read_files
from app.errors import SlimvecError
from app.types import FloatArray, Reduced, Stamp

LIMITS: dict[str, Any] = {"input_size": 4, "max_rows": 100}
STAMP = Stamp("m", 17, "0123456789abcdef")
ROWS = np.random.default_rng(3).standard_normal((2, 4), np.float32)


def decode(body: bytes, header_length: int | None = None) -> InferRequest:
    return InferenceCodec().decode(body, header_length, **LIMITS)


def tensor(shape: object = (2, 4), datatype: str = "FP32", **fields: Any) -> dict[str, Any]:
    return {"name": "hidden_states", "shape": shape, "datatype": datatype, **fields}


def binary(num_bytes: object, **fields: Any) -> dict[str, Any]:
    return tensor(**fields, parameters={"binary_data_size": num_bytes})


def document(*inputs: object, **fields: Any) -> bytes:
    return json.dumps({"inputs": inputs, **fields}).encode()


def refused(body: bytes, header_length: int | None = None) -> str:
    with pytest.raises(SlimvecError) as refusal:
        decode(body, header_length)
    return refusal.value.code


def bfloat16(array: FloatArray) -> NDArray[np.uint16]:
    return (array.view(np.uint32) >> 16).astype(np.uint16)


STORED: dict[str, NDArray[Any]] = {
    "FP32": ROWS,
    "FP64": ROWS.astype(np.float64),
    "FP16": ROWS.astype(np.float16),
    "BF16": bfloat16(ROWS),
}


@pytest.mark.parametrize("datatype", STORED)
def test_reads_every_float_behind_the_json_part(datatype: str) -> None:
    values = STORED[datatype].tobytes()
    head = document(binary(len(values), datatype=datatype), id="a", parameters={"x": 1})
    request = decode(head + values, len(head))
    expected = truncated(ROWS) if datatype == "BF16" else STORED[datatype].astype(np.float32)
    assert request.hidden_states.tobytes() == expected.tobytes()
    assert (request.id, request.parameters, request.is_binary) == ("a", {"x": 1}, False)


def truncated(array: FloatArray) -> FloatArray:
    return (array.view(np.uint32) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("data", [ROWS.tolist(), ROWS.reshape(-1).tolist()])
def test_reads_numbers_flat_or_nested_as_the_shape_is(datatype: str, data: list[Any]) -> None:
    request = decode(document(tensor(datatype=datatype, data=data)))
    assert request.hidden_states.tobytes() == ROWS.tobytes()
    assert request.hidden_states.shape == (2, 4)


@pytest.mark.parametrize("shape", [[4], [1, 2, 4], [0, 4], [2, 0, 4]])
def test_reads_any_leading_dimensions_and_no_rows_too(shape: list[int]) -> None:
    values = np.zeros(shape, np.float32)
    for body, length in (
        (document(tensor(shape, data=values.reshape(-1).tolist())), None),
        ((head := document(binary(values.nbytes, shape=shape))) + values.tobytes(), len(head)),
    ):
        assert decode(body, length).hidden_states.shape == tuple(shape)


@pytest.mark.parametrize("num_rows", [0, 1, 3])
def test_the_raw_form_is_rows_of_float32_and_wants_bytes(num_rows: int) -> None:
    rows = np.ones((num_rows, 4), np.float32)
    request = decode(rows.tobytes(), 0)
    assert request.hidden_states.tolist() == rows.tolist()
    assert request.is_binary
    assert refused(rows.tobytes() + b"x", 0) == "length_mismatch"


def test_aligned_float32_is_not_copied() -> None:
    head = document(binary(ROWS.nbytes))
    head += b" " * (-len(head) % 16)
    body = bytearray(head + ROWS.tobytes())
    request = decode(body, len(head))  # type: ignore[arg-type] # any buffer
    assert np.shares_memory(request.hidden_states, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(
    ("by_default", "of_output", "wanted"),
    [
        (None, None, False), (True, None, True), (False, True, True), (True, False, False),
        (None, True, True), (False, None, False),
    ],
)  # fmt: skip
def test_the_form_of_the_output_is_its_own_or_that_of_the_request(
    by_default: bool | None, of_output: bool | None, wanted: bool
) -> None:
    parameters = {} if by_default is None else {"binary_data_output": by_default}
    asked = {} if of_output is None else {"binary_data": of_output}
    outputs = [{"name": "reduced", "parameters": asked}]
    body = document(tensor(data=ROWS.tolist()), outputs=outputs, parameters=parameters)
    assert decode(body).is_binary is wanted


def test_null_is_the_same_as_nothing_and_unknown_fields_are_passed_over() -> None:
    given_null = {"id": None, "parameters": None, "outputs": None, "model_name": "x", "y": [[1]]}
    request = decode(document(tensor(data=ROWS.tolist(), z={"deep": [[]]}), **given_null))
    assert (request.id, request.parameters, request.is_binary) == (None, {}, False)


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "INT64", "UINT8", "FP8", "float32"])
def test_another_datatype_is_refused_by_name_if_it_is_one(datatype: str) -> None:
    with pytest.raises(SlimvecError) as refusal:
        decode(document(binary(32, datatype=datatype)))
    assert refusal.value.code == "unsupported_dtype"
    is_known = datatype not in ("FP8", "float32")
    assert (f"got {datatype}" in refusal.value.detail) is is_known


NUMBERS = ROWS.tolist()
# What is wrong → what it is called. `…` is where a binary tensor follows the JSON part.
REFUSALS: list[tuple[bytes, str]] = [
    (b"", "empty_body"),
    (b"[]", "wrong_type"),
    (b"{", "malformed_json"),
    (b"\xef\xbb\xbf{}", "malformed_json"),
    (b"{}", "missing_field"),
    (b'{"inputs":[],"inputs":[]}', "duplicate_key"),
    (b'{"inputs":[{"name":"a","name":"a"}]}', "duplicate_key"),
    (b'{"inputs":[{"name":"hidden_states","parameters":{"a":1,"a":2}}]}', "missing_field"),
    (b'{"parameters":{"a":1,"a":2}}', "duplicate_key"),
    (b'{"parameters":{"a":[1]}}', "wrong_type"),
    (b'{"id":1,"inputs":[]}', "unknown_tensor"),
    (document(tensor(data=NUMBERS), id=1), "wrong_type"),
    (document(), "unknown_tensor"),
    (document(tensor(data=NUMBERS), tensor(data=NUMBERS)), "unknown_tensor"),
    (document({**tensor(data=NUMBERS), "name": "input"}), "unknown_tensor"),
    (document(tensor(data=NUMBERS), outputs=[{"name": "other"}]), "unknown_tensor"),
    (document(tensor(data=NUMBERS), outputs=[{"name": "reduced"}] * 2), "unknown_tensor"),
    (document(tensor(data=NUMBERS), outputs={}), "wrong_type"),
    (document(tensor(data=NUMBERS), parameters={"binary_data_output": 1}), "wrong_type"),
    (document(tensor()), "missing_field"),
    (document(binary(32, data=NUMBERS)), "missing_field"),
    (document(binary("32")), "wrong_type"),
    (document(binary(True)), "wrong_type"),
    (document(binary(-32)), "length_mismatch"),
    (document(binary(31)), "length_mismatch"),
    (document(binary(32)), "length_mismatch"),
    (document(tensor(data=NUMBERS[0])), "length_mismatch"),
    (document(tensor([4, 2], data=NUMBERS)), "length_mismatch"),
    (document(tensor([0, 4], data=NUMBERS)), "length_mismatch"),
    (document(tensor(data=[])), "empty_batch"),
    (document(tensor(data=[[1, 2, 3, 4], [1, 2, 3]])), "ragged_rows"),
    (document(tensor(data=[1, 2, 3, 4, 5, 6, 7, [8]])), "ragged_rows"),
    (document(tensor(data=[1, 2, 3, 4, 5, 6, 7, "8"])), "wrong_type"),
    (document(tensor(data="12345678")), "wrong_type"),
    (document(tensor(data=[*NUMBERS[0], 1, 2, 3, None])), "wrong_type"),
    (b'{"inputs":[{"data":[NaN]}]}', "malformed_json"),
    (document(tensor(data=[*NUMBERS[0], 1, 2, 3, 1e39])), "out_of_range"),
    (document(tensor(datatype="FP16", data=NUMBERS)), "unsupported_dtype"),
    (document(tensor(datatype="BF16", data=NUMBERS)), "unsupported_dtype"),
    (document(tensor([], data=[1])), "wrong_type"),
    (document(tensor([-1, 4], data=NUMBERS)), "wrong_type"),
    (document(tensor([2.0, 4], data=NUMBERS)), "wrong_type"),
    (document(tensor(["2", 4], data=NUMBERS)), "wrong_type"),
    (document(tensor([1] * 9, data=[1])), "too_many_dimensions"),
    (document(tensor([2**62, 2**62], data=[1])), "shape_overflow"),
    (document(tensor([0, 2**63 - 1], data=[])), "shape_overflow"),
    (document(tensor([101, 4], data=[0.5] * 404)), "too_many_rows"),
    (
        document(tensor(data=NUMBERS), outputs=[
            {"name": "reduced", "parameters": {"shared_memory_region": "r"}}]),
        "extension_not_offered",
    ),
    (
        document(tensor(data=NUMBERS), outputs=[
            {"name": "reduced", "parameters": {"classification": 3}}]),
        "extension_not_offered",
    ),
    (json.dumps({str(number): 0 for number in range(65)}).encode(), "too_many_keys"),
    (b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", "malformed_json"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), REFUSALS, ids=lambda given: str(given)[:60])
def test_says_what_is_wrong(body: bytes, code: str) -> None:
    assert refused(body) == code


@pytest.mark.parametrize("num_bytes", [31, 33])
def test_a_tensor_ends_where_the_body_does(num_bytes: int) -> None:
    head = document(binary(32))
    assert refused(head + bytes(num_bytes), len(head)) == "length_mismatch"


def test_bytes_that_no_tensor_claims_are_refused() -> None:
    head = document(tensor(data=NUMBERS))
    assert refused(head + b"x", len(head)) == "length_mismatch"


def test_a_head_that_was_understood_before_means_the_same_again() -> None:
    codec, head = InferenceCodec(), document(binary(32), id="a")
    for rows in (ROWS, -ROWS):
        request = codec.decode(head + rows.tobytes(), len(head), **LIMITS)
        assert (request.id, request.hidden_states.tobytes()) == ("a", rows.tobytes())


def answer(rows: FloatArray, request: InferRequest) -> tuple[dict[str, Any], bytes]:
    body, length = InferenceCodec().encode(Reduced(rows, STAMP), request)
    cut = len(body) if length is None else length
    found: dict[str, Any] = json.loads(body[:cut])
    return found, body[cut:]


def test_an_answer_says_who_made_it_and_for_whom() -> None:
    found, rest = answer(ROWS, InferRequest(hidden_states=ROWS, id="é"))
    output = found.pop("outputs")[0]
    assert found == {
        "model_name": "m",
        "model_version": "17",
        "id": "é",
        "parameters": {"digest": STAMP.digest},
    }
    assert np.array(output.pop("data"), np.float32).tobytes() == ROWS.tobytes()
    assert (output, rest) == ({"name": "reduced", "shape": [2, 4], "datatype": "FP32"}, b"")


@pytest.mark.parametrize("shape", [(2, 4), (0, 4), (2, 0, 4)])
def test_a_binary_answer_has_its_values_behind(shape: tuple[int, ...]) -> None:
    rows = np.ones(shape, np.float32)
    found, rest = answer(rows, InferRequest(hidden_states=rows, is_binary=True))
    assert found["outputs"][0] == {
        "name": "reduced",
        "shape": list(shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    assert rest == rows.tobytes()
    _, length = InferenceCodec().encode(Reduced(rows, STAMP), InferRequest(
        hidden_states=rows, is_binary=True))  # fmt: skip
    assert (length is None) is (rows.size == 0)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=8), st.booleans(), st.text())
def test_what_is_written_is_what_was_there(
    rows: list[tuple[float, float]], is_binary: bool, name: str
) -> None:
    array = np.array(rows, np.float32)
    request = InferRequest(hidden_states=array, is_binary=is_binary, id=name)
    found, rest = answer(array, request)
    output = found["outputs"][0]
    values = np.frombuffer(rest, "<f4") if is_binary else np.array(output["data"], np.float32)
    assert values.reshape(output["shape"]).tobytes() == array.tobytes()
    assert found["id"] == name


pieces = st.sampled_from(
    [document(binary(32)), document(tensor(data=NUMBERS)), b"", ROWS.tobytes()]
)


@given(
    pieces, st.binary(max_size=40), st.one_of(st.none(), st.integers(0, 300)), st.integers(0, 90)
)
def test_any_bytes_are_read_or_refused(
    start: bytes, rest: bytes, length: int | None, cut: int
) -> None:
    body = start[:cut] + rest + start[cut:]
    if length is not None:
        length = min(length, len(body))  # the edge refuses a longer one
    for reads in (lambda: decode(body, length), lambda: read_files(body)):
        with suppress(SlimvecError):  # nothing else may come out
            reads()
