"""Rows 40 to 53: what stands in a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, product
from string import ascii_letters, digits

import numpy as np

from tests.security.catalogue.request import (
    GOLDEN,
    HOT,
    NPY,
    SAFETENSORS,
    Declared,
    Request,
    Row,
    base64_text,
    declared,
    in_npy,
    in_safetensors,
    nested,
    npy,
    refused_on,
    row_of,
    safetensors,
)

_PUT = "/models/new"
_GOOD = nested(row_of())
_GOOD_NPY = npy(declared(GOLDEN))
_CONFIG = b'{"input_size": 8, "layers": [{"type": "QRReduction", "n_components": 3}]'


def rows() -> Iterator[Row]:
    yield from _numbers()
    yield from _kinds()
    yield from _keys()
    yield from _many()
    yield from _base64()


def _numbers() -> Iterator[Row]:
    for number, name, text, status, code in (
        (40, "nan", "NaN", 400, "malformed_json"),
        (40, "infinity", "Infinity", 400, "malformed_json"),
        (40, "minus-infinity", "-Infinity", 400, "malformed_json"),
        (41, "1e999", "1e999", 422, "non_finite_input"),
        (41, "minus-1e999", "-1e999", 422, "non_finite_input"),
        (42, "400-digits", "7" * 400, 422, "out_of_range"),
        (42, "5000-digits", "7" * 5000, 422, "out_of_range"),
        (42, "60-digits", "7" * 60, 422, "out_of_range"),
        (43, "1e39", "1e39", 422, "out_of_range"),
        (43, "minus-1e39", "-1e39", 422, "out_of_range"),
    ):
        yield from refused_on(HOT, number, name, nested(row_of("1", text)), status, code)
    for number, name, text, status, code in (
        (40, "nan", "NaN", 400, "malformed_json"),
        (41, "1e999", "1e999", 422, "non_finite_input"),
        (42, "5000-digits", "7" * 5000, 422, "out_of_range"),
    ):
        yield from refused_on(
            [_PUT],
            number,
            name,
            _CONFIG + f', "seed": {text}}}'.encode(),
            status,
            code,
        )
    for text in ("1e-320", "-0.0", "1e-45", "5e-324", "9223372036854775808"):
        yield Row(
            number=44,
            name=text,
            request=Request(body=nested(row_of("1", text))),
            status=200,
            meaning=np.array([[1, float(text), 1, 1, 1, 1, 1, 1]], np.float32),
        )
    for dtype in ("float16", "float64"):
        tiny = np.full((1, 8), np.finfo(dtype).smallest_subnormal, dtype)
        for encode in (in_npy, in_safetensors):
            yield Row(
                number=44,
                name=f"subnormal-{dtype}-{encode.__name__}",
                request=encode(declared(tiny)),
                status=200,
                meaning=tiny.astype(np.float32),
            )


def _kinds() -> Iterator[Row]:
    for number, name, text in (
        (45, "string-number", '"1.5"'),
        (45, "string-nan", '"nan"'),
        (45, "string-inf", '"inf"'),
        (46, "true", "true"),
        (46, "false", "false"),
        (47, "null", "null"),
        (47, "object", "{}"),
    ):
        for place, body in (
            ("first", row_of(text)),
            ("last", row_of(*["1"] * 7, text)),
            ("row", f"[{text}]"),
            ("whole", text if text != "{}" else '{"a": {}}'),
        ):
            code = "unknown_field" if (name, place) == ("object", "whole") else "wrong_type"
            yield from refused_on(HOT, number, f"{name}-{place}", nested(body), 422, code)
    for number, text in ((45, '"8"'), (46, "true"), (47, "null")):
        yield from refused_on(
            [_PUT],
            number,
            text.strip('"'),
            _CONFIG.replace(b"8", text.encode(), 1) + b"}",
            422,
            "config_invalid",
        )


def _keys() -> Iterator[Row]:
    twice = (400, "duplicate_key")
    yield from refused_on(
        HOT, 48, "hidden-states", nested(row_of(), hidden_states=row_of()), *twice
    )
    yield from refused_on(
        HOT,
        48,
        "escaped",
        _GOOD[:-1] + b', "hidden\\u005fstates": [[1]]}',
        *twice,
    )
    yield from refused_on([_PUT], 48, "seed", _CONFIG + b', "seed": 1, "seed": 2}', *twice)
    yield from refused_on(
        ["/reduce?normalize=true&normalize=false"],
        48,
        "query",
        _GOOD_NPY,
        *twice,
        content_type=NPY,
    )
    header = b'{"hidden_states":{"dtype":"F32","shape":[1,8],"data_offsets":[0,32]}'
    doubled = header + b"," + header[1:] + b"}"
    yield from refused_on(
        HOT,
        48,
        "safetensors",
        len(doubled).to_bytes(8, "little") + doubled + GOLDEN.tobytes(),
        422,
        "malformed_safetensors",
        content_type=SAFETENSORS,
    )
    unknown = (422, "unknown_field")
    for name in ("lr", "Hidden_States", "surprise_" * 400):
        yield from refused_on(HOT, 49, name[:16], nested(row_of(), **{name: "1"}), *unknown)
        yield from refused_on(
            HOT,
            49,
            f"{name[:16]}-safetensors",
            safetensors({"hidden_states": declared(GOLDEN), name: declared(GOLDEN)}),
            *unknown,
            content_type=SAFETENSORS,
        )
        yield from refused_on(
            [f"/reduce?{name}=1"], 49, f"{name[:16]}-npy", _GOOD_NPY, *unknown,
            content_type=NPY,
        )  # fmt: skip
    yield from refused_on(
        [_PUT],
        49,
        "long-field",
        _CONFIG + b', "' + b"surprise_" * 400 + b'": 1}',
        422,
        "config_invalid",
    )


def _many() -> Iterator[Row]:
    for name, element in (("strings", '"a"'), ("nulls", "null"), ("booleans", "true")):
        flat = f"[{', '.join([element] * 100_000)}]"
        rows_of_8 = f"[{', '.join([row_of(*[element] * 8)[1:-1]] * 12_500)}]"
        for layout, text in (("one-row", f"[{flat}]"), ("flat", flat), ("rows", rows_of_8)):
            yield from refused_on(HOT, 50, f"{name}-{layout}", nested(text), 422, "wrong_type")
    yield from refused_on(HOT, 51, "empty-rows", _empty_rows, 422, "empty_batch")
    yield from refused_on(HOT, 52, "million-keys", _million_keys, 400, "too_many_keys")
    yield from refused_on(HOT, 52, "65-keys", _object(islice(_names(), 65)), 400, "too_many_keys")


def _names() -> Iterator[str]:
    alphabet = ascii_letters + digits + "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"
    return chain.from_iterable(map("".join, product(alphabet, repeat=n)) for n in (1, 2, 3, 4))


def _empty_rows() -> bytes:
    return nested(f"[{'[],' * 999_999}[]]")


def _million_keys() -> bytes:
    return _object(islice(_names(), 1_000_000))


def _object(names: Iterator[str]) -> bytes:
    return b"{" + ",".join(f'"{name}":0' for name in names).encode() + b"}"


def _base64() -> Iterator[Row]:
    good = base64_text(declared(GOLDEN))
    data = good.split('"')[-2]
    for name, text, code in (
        ("alphabet", good.replace(data, "*" + data[1:]), "invalid_base64"),
        ("url-alphabet", good.replace(data, "_-" + data[2:]), "invalid_base64"),
        ("line-break", good.replace(data, data[:8] + "\\n" + data[9:]), "invalid_base64"),
        ("non-ascii", good.replace(data, "é" + data[1:]), "invalid_base64"),
        ("no-padding", good.replace("=", ""), "length_mismatch"),
        ("padding-inside", good.replace(data, "AA==" + data[4:]), "invalid_base64"),
        ("short", base64_text(Declared([1, 8], b"\0" * 28)), "length_mismatch"),
        ("long", base64_text(Declared([1, 8], b"\0" * 36)), "length_mismatch"),
        ("no-shape", '{"dtype": "float32", "data": ""}', "missing_field"),
        ("number", good.replace(f'"{data}"', "12345678"), "wrong_type"),
        ("extra-field", good[:-1] + ', "order": "C"}', "unknown_field"),
    ):
        yield from refused_on(HOT, 53, name, nested(text), 422, code)
    twice = good[:-1] + ', "dtype": "float64"}'
    yield from refused_on(HOT, 53, "field-twice", nested(twice), 400, "duplicate_key")
