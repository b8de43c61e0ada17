from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from app.codecs import CODECS
from app.errors import SlimvecError
from app.types import Reduced, Stamp
from tests.unit.codecs.bodies import SCHEMA, hidden_states, refusal

JSON = "application/json"
EMPTY = ("Unacceptable", "empty_batch", "/hidden_states")


def body(hidden_states: str) -> bytes:
    return f'{{"hidden_states":{hidden_states}}}'.encode()


def nested(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1.5,-2]", [1.5, -2]),
        ("[[1,2],[3,4]]", [[1, 2], [3, 4]]),
        ("[[[1],[2]],[[3],[4]]]", [[[1], [2]], [[3], [4]]]),
        (nested(8), [[[[[[[[1]]]]]]]]),
        (" [ 1 ,\n\t2 ] ", [1, 2]),
        ("[1e-320,1e-45,-0.0]", [0, 1e-45, -0.0]),
        ("[123456789012345678901,18446744073709551616]", [123456789012345678901, 2**64]),
        ("[-9223372036854775809,18446744073709551615]", [-(2**63), 2**64]),
        ("[3.4028235e38]", [3.4028235e38]),
    ],
)
def test_reads_numbers_in_lists_of_any_leading_dimensions(text: str, expected: object) -> None:
    array = hidden_states(JSON, body(text))
    wanted = np.array(expected, np.float32)
    assert (array.shape, array.tobytes()) == (wanted.shape, wanted.tobytes())


def test_rounds_a_decimal_to_the_float32_that_wrote_it() -> None:
    array = np.random.default_rng(0).standard_normal((16, 96)).astype(np.float32)
    assert hidden_states(JSON, body(json.dumps(array.tolist()))).tobytes() == array.tobytes()


def test_passes_options_on_undigested() -> None:
    options = {"version": "live", "loss": {"type": "mse", "weights": [1, [2]], "margin": None}}
    decoded = CODECS[JSON].decode(json.dumps({"hidden_states": [1], **options}).encode(), SCHEMA)
    assert decoded.options == options


def test_a_bracket_in_an_option_does_not_hide_an_irregular_row() -> None:
    regular = b'{"hidden_states":[[1,2],[3,4]],"loss":"[["}'
    irregular = b'{"hidden_states":[[1,2],[3,[4]]],"loss":"[["}'
    assert hidden_states(JSON, regular).tolist() == [[1, 2], [3, 4]]
    assert refusal(JSON, irregular) == ("Unacceptable", "ragged_rows", "/hidden_states/1")


@pytest.mark.parametrize("place", [0, 1, 400, 799], ids=lambda place: f"at-{place}")
def test_a_list_among_many_numbers_is_found_between_lists_that_lie_far_apart(place: int) -> None:
    row = ["0.12345678901234567"] * 800
    text = f"[{','.join(row)}]"
    assert hidden_states(JSON, body(f"[{text},{text}]")).shape == (2, 800)
    row[place] = f"[{row[place]}]"
    irregular = body(f"[{text},[{','.join(row)}]]")
    assert refusal(JSON, irregular) == ("Unacceptable", "ragged_rows", "/hidden_states/1")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "empty_body"),
        (b"  ", "malformed_json"),
        (b'{"hidden_states":[1', "malformed_json"),
        (b'{"hidden_states":[1]}x', "malformed_json"),
        (b'{"hidden_states":[1,]}', "malformed_json"),
        (b'{"hidden_states":[01]}', "malformed_json"),
        (b'{"hidden_states":[NaN]}', "malformed_json"),
        (b'{"hidden_states":[Infinity]}', "malformed_json"),
        (b'{"hidden_states":[-Infinity]}', "malformed_json"),
        (b'{"hidden_states":[1],"loss":"\xff"}', "malformed_json"),
        (b'{"hidden_states":[1],"loss":"\\ud800"}', "malformed_json"),
        (b'\xef\xbb\xbf{"hidden_states":[1]}', "malformed_json"),
        ('{"hidden_states":[1]}'.encode("utf-16"), "malformed_json"),
        ('{"hidden_states":[1]}'.encode("utf-16-le"), "malformed_json"),
        (b'{"hidden_states":' + b"[" * 100_000, "malformed_json"),
        (b'{"hidden_states":[18446744073709551616],"loss":' + b"[" * 900 + b"]" * 900 + b"}",
         "malformed_json"),
        (b'{"hidden_states":[1],"loss":' + b"[" * 11 + b"]" * 11 + b"}", "malformed_json"),
        (b'{"hidden_states":[1],"hidden_states":[2]}', "duplicate_key"),
        (b'{"hidden_states":[1],"hidden_st\\u0061tes":[2]}', "duplicate_key"),
        (b'{"hidden_states":[18446744073709551616],"hidden_states":[2]}', "duplicate_key"),
        (b'{"hidden_states":[1],"loss":{"type":"a","type":"b"}}', "duplicate_key"),
        (b"{" + b",".join(b'"%d":1' % i for i in range(65)) + b"}", "too_many_keys"),
    ],
)  # fmt: skip
def test_refuses_what_is_not_strict_json(sent: bytes, code: str) -> None:
    assert refusal(JSON, sent) == ("Malformed", code, "")


@pytest.mark.parametrize(
    ("sent", "offset"),
    [
        (b'{"hidden_states":[1', 19),
        (b'{"hidden_states":[1]}x', 21),
        ('{"loss":"é", x}'.encode(), 14),
        (b'{"loss":"\xff"}', 9),
    ],
)
def test_says_at_which_byte_parsing_stopped(sent: bytes, offset: int) -> None:
    with pytest.raises(SlimvecError, match=f"stopped at byte {offset}$"):
        CODECS[JSON].decode(sent, SCHEMA)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"[1]", "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"hidden_states":[1],"lr":1}', "unknown_field"),
        (b'{"hidden_states":[1],"\\ud800":1}', "unknown_field"),
        (b'{"hidden_states":[1],"a\\udc00\\"b" : 1}', "unknown_field"),
        (b'{"hidden_states":[1e999]}', "non_finite_input"),
        (b'{"hidden_states":[-1e999]}', "non_finite_input"),
        (b'{"hidden_states":[1' + b"0" * 399 + b"]}", "out_of_range"),
        (b'{"hidden_states":[1' + b"0" * 4999 + b"]}", "out_of_range"),
    ],
)
def test_refuses_fields_and_numbers_that_cannot_be(sent: bytes, code: str) -> None:
    assert refusal(JSON, sent) == ("Unacceptable", code, "")


@pytest.mark.parametrize(
    ("text", "code", "pointer"),
    [
        ("5", "wrong_type", ""),
        ("null", "wrong_type", ""),
        ('"1.5"', "wrong_type", ""),
        ('["1.5"]', "wrong_type", "/0"),
        ('[1,"nan"]', "wrong_type", "/1"),
        ("[[1,2],[3,true]]", "wrong_type", "/1/1"),
        ("[[1,2],[null,3]]", "wrong_type", "/1/0"),
        ("[[1,2],[3,{}]]", "wrong_type", "/1/1"),
        ("[[1,2],null]", "wrong_type", "/1"),
        ('[[1,2],"ab"]', "wrong_type", "/1"),
        ("[" + "1," * 5000 + "null]", "wrong_type", ""),
        ("[[1,2],[3]]", "ragged_rows", "/1"),
        ("[[1,2],3]", "ragged_rows", "/1"),
        ("[1,[2]]", "ragged_rows", ""),
        ("[[1,2],[3,[4]]]", "ragged_rows", "/1"),
        ("[[1,2],[3,[4,5]]]", "ragged_rows", "/1/1"),
        ("[[[1],[2]],[[3],4]]", "ragged_rows", "/1/1"),
        ("[[[1],[2]],[[3,4]]]", "ragged_rows", "/1"),
        ("[[1,2],[3,[]]]", "ragged_rows", "/1/1"),
        ("[" + "[1]," * 900 + "[]]", "ragged_rows", "/900"),
        ("[" + "1," * 5000 + "[1,2]]", "ragged_rows", ""),
        ("[1e39]", "out_of_range", "/0"),
        ("[[1,2],[3,-3.4028236e38]]", "out_of_range", "/1/1"),
        (nested(9), "too_many_dimensions", ""),
        (nested(65), "too_many_dimensions", ""),
    ],
)
def test_refuses_an_array_that_is_none(text: str, code: str, pointer: str) -> None:
    assert refusal(JSON, body(text)) == ("Unacceptable", code, f"/hidden_states{pointer}")


@pytest.mark.parametrize("text", ["[]", "[[]]", "[[],[1]]", "[" + "[]," * 100_000 + "[]]"])
def test_refuses_an_empty_batch(text: str) -> None:
    assert refusal(JSON, body(text)) == EMPTY


def test_a_fault_far_down_is_refused_without_its_place() -> None:
    rows = "[" + "[1]," * 5000 + "[]]"
    schema = replace(SCHEMA, max_rows=10_000)
    with pytest.raises(SlimvecError) as refused:
        CODECS[JSON].decode(body(rows), schema)
    assert (refused.value.code, refused.value.pointer) == ("ragged_rows", "/hidden_states")


def test_refuses_a_list_longer_than_the_parser_can_count() -> None:
    sent = body("[" + "1," * (1 << 24) + "1]")
    assert refusal(JSON, sent) == ("TooLarge", "too_many_rows", "/hidden_states")


@pytest.mark.parametrize("element", ['"x"', "[]", '["x"]', "[1,2]", "null"])
def test_a_refusal_takes_little_memory(element: str) -> None:
    sent = body(f"[[1],{','.join([element] * 900)}]")
    refusal(JSON, sent)
    tracemalloc.start()
    refusal(JSON, sent)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 10


def test_decodes_in_several_threads_at_once() -> None:
    sent = [body(json.dumps([[i] * 50] * 20)) for i in range(64)]
    with ThreadPoolExecutor(4) as threads:
        arrays = list(threads.map(lambda one: hidden_states(JSON, one), sent * 4))
    assert [array[0, 0] for array in arrays] == [*range(64)] * 4


def test_writes_the_fewest_digits_that_restore_float32() -> None:
    reduced = Reduced(np.array([[0.1, 1.0], [-0.0, 1e-45]], np.float32), Stamp("news", 7, "00ff"))
    assert CODECS[JSON].encode(reduced) == (
        b'{"reduced":[[0.1,1.0],[-0.0,1e-45]],"shape":[2,2],'
        b'"model":"news","version":7,"digest":"00ff"}'
    )


@pytest.mark.parametrize(
    "shape",
    [(40_000,), (3, 20_000), (1, 70_000), (70_000, 1), (2, 2, 20_000), (1, 1, 40_000, 2)],
    ids=str,
)
def test_many_numbers_are_written_in_pieces_that_read_as_one(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    written = CODECS[JSON].encode(Reduced(array, Stamp("m", 3, "d" * 16)))
    assert written.startswith(
        b'{"reduced":' + json.dumps(array.tolist(), separators=(",", ":")).encode()
    )
    assert json.loads(written)["shape"] == list(shape)


def test_writes_base64_when_asked() -> None:
    reduced = Reduced(np.array([1.0, -2.0], np.float32), Stamp("news", 7, "00ff"))
    assert CODECS[JSON].encode(reduced, encoding="base64") == (
        b'{"reduced":{"shape":[2],"dtype":"float32","data":"AACAPwAAAMA="},"shape":[2],'
        b'"model":"news","version":7,"digest":"00ff"}'
    )
