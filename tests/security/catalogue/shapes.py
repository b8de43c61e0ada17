"""Rows 54 to 63: shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.security.catalogue.request import (
    GOLDEN,
    HOT,
    NPY,
    SAFETENSORS,
    Declared,
    Request,
    Row,
    answered_in_each_form,
    base64_text,
    declared,
    in_npy,
    nested,
    npy,
    refused_in_each_form,
    refused_on,
    row_of,
    safetensors,
)

# Larger than 2**63 bytes as float32, each in its own way.
_OVERFLOWS = ([2**32, 2**32], [2**62, 4], [0, 2**63 - 1], [16, 2**60 + 2])


def rows() -> Iterator[Row]:
    yield from _ragged()
    yield from _widths_and_dimensions()
    yield from _counts()
    yield from _declared_sizes()
    yield from _dtypes()


def _ragged() -> Iterator[Row]:
    eight = row_of()[1:-1]
    for name, text in (
        ("short-second", "[[1, 2], [3]]"),
        ("short-first", f"[[1], {eight}]"),
        ("number-among-rows", f"[{eight}, 1]"),
        ("row-among-numbers", row_of("1", "[1]")),
        ("hidden-row", f"[{eight}, [1, 1, 1, 1, 1, 1, 1, [1]]]"),
        ("deeper-second", f"[[{eight}], [[{eight}]]]"),
    ):
        yield from refused_on(HOT, 54, name, nested(text), 422, "ragged_rows")


def _widths_and_dimensions() -> Iterator[Row]:
    narrow = np.ones((1, 7), np.float32)
    wrong = (422, "shape_mismatch")
    yield from refused_on(HOT, 55, "json", nested("[[1, 2, 3]]"), *wrong, detail="expected width 8")
    for path in ("/reduce", "/models/small/reduce"):
        yield from refused_in_each_form(
            55,
            f"width-{path.count('/')}",
            declared(narrow),
            wrong[1],
            detail="expected width 8",
            path=path,
        )
    for num_leading in range(8):
        shape = (*[1] * num_leading, 8)
        array = np.arange(8, dtype=np.float32).reshape(shape)
        text = str(array.tolist())
        yield Row(
            number=56,
            name=f"{len(shape)}-dimensions-json",
            request=Request(body=nested(text)),
            status=200,
            meaning=array,
        )
        yield from answered_in_each_form(56, f"{len(shape)}-dimensions", array)
    for num_lists in (9, 10, 30):
        text = "[" * num_lists + "1" + "]" * num_lists
        yield from refused_on(
            HOT,
            56,
            f"{num_lists}-dimensions",
            nested(text),
            422,
            "too_many_dimensions",
        )
    nine = Declared([1] * 8 + [8], GOLDEN.tobytes())
    yield from refused_in_each_form(56, "9-dimensions", nine, "too_many_dimensions")


def _counts() -> Iterator[Row]:
    for name, text in (
        ("no-rows", "[]"),
        ("empty-row", "[[]]"),
        ("empty-rows", "[[], []]"),
        ("deep", "[[[]]]"),
    ):
        yield from refused_on(HOT, 57, name, nested(text), 422, "empty_batch")
    for name, shape in (("no-rows", [0, 8]), ("no-columns", [3, 0]), ("empty", [0])):
        yield from refused_in_each_form(57, name, Declared(shape, b""), "empty_batch")
    too_many = 131_072 + 1
    yield from refused_on(
        HOT,
        58,
        "json",
        nested(f"[{','.join(['[1]'] * too_many)}]"),
        413,
        "too_many_rows",
    )
    for name, shape in (("rows", [too_many, 1]), ("leading", [2, too_many // 2 + 1, 1])):
        yield from refused_in_each_form(
            58,
            name,
            declared(np.ones(shape, np.float32)),
            "too_many_rows",
            status=413,
        )


def _declared_sizes() -> Iterator[Row]:
    octets = GOLDEN.tobytes()
    for shape in _OVERFLOWS:
        name = "x".join(map(str, shape))
        content = b"" if 0 in shape else octets
        yield from refused_in_each_form(59, name, Declared(shape, content), "shape_overflow")
    for name, size, npy_code in (
        ("negative", -8, "malformed_npy"),
        ("boolean", True, "malformed_npy"),
        ("float", 8.0, "malformed_npy"),
        ("string", "eight", "malformed_npy"),
    ):
        yield from refused_in_each_form(
            60, name, Declared([1, size], octets), "wrong_type", npy=npy_code
        )
    yield from refused_in_each_form(60, "zero-width", Declared([1, 0], b""), "empty_batch")
    yield from refused_on(
        HOT,
        60,
        "shape-is-no-list",
        nested('{"shape": 8, "dtype": "float32", "data": ""}'),
        422,
        "wrong_type",
    )
    yield from refused_in_each_form(
        61, "65-dimensions", Declared([1] * 64 + [8], octets), "too_many_dimensions"
    )
    for name, content in (
        ("short-by-a-row", octets),
        ("short-by-1", octets + octets[:-1]),
        ("long-by-1", octets * 2 + b"\0"),
        ("trailing-row", octets * 3),
    ):
        yield from refused_in_each_form(62, name, Declared([2, 8], content), "length_mismatch")


def _dtypes() -> Iterator[Row]:
    octets = b"\0" * 64
    unsupported = "unsupported_dtype"
    for name, npy_name, safetensors_name, itemsize in (
        ("int64", "<i8", "I64", 8),
        ("uint8", "|u1", "U8", 1),
        ("bool", "|b1", "BOOL", 1),
        ("complex64", "<c8", "C64", 8),
        ("float128", "<f16", "F128", 16),
        ("float8_e4m3", "|V1", "F8_E4M3", 1),
        ("string", "<U4", "STR", 16),
        ("datetime64", "<M8[ns]", "M8", 8),
        ("object", "|O", "OBJECT", 8),
    ):
        size = 64 // itemsize
        yield Row(
            number=63,
            name=f"{name}-base64",
            request=Request(body=nested(base64_text(Declared([1, size], octets, name)))),
            status=422,
            code=unsupported,
        )
        yield Row(
            number=63,
            name=f"{name}-npy",
            request=in_npy(Declared([1, size], octets, npy_name)),
            status=422,
            code=unsupported,
        )
        yield from refused_on(
            HOT,
            63,
            f"{name}-safetensors",
            safetensors({"hidden_states": Declared([1, size], octets, safetensors_name)}),
            422,
            unsupported,
            content_type=SAFETENSORS,
        )
    structured = npy(Declared([1, 8], octets)).replace(b"'<f4'", b"[('a','<f4')]", 1)
    header = structured[10 : structured.index(b"\n") + 1]
    structured = structured[:8] + len(header).to_bytes(2, "little") + header + octets
    yield from refused_on(
        ["/reduce"], 63, "structured-npy", structured, 422, unsupported, content_type=NPY
    )
