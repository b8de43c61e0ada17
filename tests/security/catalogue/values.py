"""Rows 64 to 70: orders, values, alignment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

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

_TEN_MILLION = (26_042, 384)


def rows() -> Iterator[Row]:
    yield from _orders()
    yield from _not_finite()
    yield from _overflowing()
    yield from _degenerate()
    yield from _misaligned()
    yield from _widening()


def _orders() -> Iterator[Row]:
    for descr in (">f4", ">f8", ">f2"):
        octets = GOLDEN.astype(descr).tobytes()
        yield Row(
            number=64,
            name=f"big-endian{descr[1:]}-npy",
            request=in_npy(Declared([1, 8], octets, descr)),
            status=422,
            code="unsupported_dtype",
        )
    yield from refused_on(
        HOT,
        64,
        "big-endian-base64",
        nested(base64_text(Declared([1, 8], GOLDEN.tobytes(), ">f4"))),
        422,
        "unsupported_dtype",
    )
    rows = np.arange(24, dtype=np.float32).reshape(3, 8)
    for name, array in (("2-dimensions", rows), ("3-dimensions", rows.reshape(3, 1, 8))):
        body = npy(Declared(list(array.shape), array.tobytes(order="F")), fortran=True)
        yield Row(
            number=64,
            name=f"fortran-{name}",
            request=Request(content_type=NPY, body=body),
            status=200,
            meaning=array,
        )


def _not_finite() -> Iterator[Row]:
    for value in (np.nan, np.inf, -np.inf):
        for name, index in (("first", (0, 0)), ("last", (2, 7)), ("middle", (1, 3))):
            array = np.ones((3, 8), np.float32)
            array[index] = value
            yield from refused_in_each_form(
                65,
                f"{value}-{name}",
                declared(array),
                "non_finite_input",
                detail=f"hidden_states/{index[0]}/{index[1]}",
            )
            yield from refused_on(
                ["/train-step"],
                65,
                f"{value}-{name}",
                safetensors({"hidden_states": declared(array)}),
                422,
                "non_finite_input",
                content_type=SAFETENSORS,
                detail=f"hidden_states/{index[0]}/{index[1]}",
            )
    for dtype in ("float16", "float64"):
        array = np.full((1, 8), np.nan, dtype)
        yield from refused_in_each_form(65, f"nan-{dtype}", declared(array), "non_finite_input")
    yield Row(
        number=65,
        name="one-of-10-million-npy",
        request=Request(path="/models/wide/reduce", content_type=NPY, body=_one_of_ten_million),
        status=422,
        code="non_finite_input",
        detail="hidden_states/26041/383",
    )


def _one_of_ten_million() -> bytes:
    array = np.ones(_TEN_MILLION, np.float32)
    array[-1, -1] = np.nan
    return npy(declared(array))


def _overflowing() -> Iterator[Row]:
    huge = np.full((2, 8), 3e38, np.float32)
    yield from refused_in_each_form(66, "3e38", declared(huge), "non_finite_output")
    yield from refused_on(
        ["/reduce"],
        66,
        "3e38-json",
        nested(row_of(*["3e38"] * 8)),
        422,
        "non_finite_output",
    )
    with np.errstate(over="ignore"):
        narrowed = np.full((1, 8), 70_000).astype(np.float16)
    yield from refused_in_each_form(67, "70000-as-float16", declared(narrowed), "non_finite_input")
    beyond = np.full((1, 8), 1e39)
    yield from refused_in_each_form(67, "1e39-as-float64", declared(beyond), "out_of_range")


def _degenerate() -> Iterator[Row]:
    for name, array in _degenerate_batches().items():
        text = str(array.tolist())
        yield from answered_in_each_form(68, name, array)
        yield Row(
            number=68,
            name=f"{name}-json",
            request=Request(body=nested(text)),
            status=200,
            meaning=array,
        )
        for loss in ("similarity", "reconstruction"):
            yield Row(
                number=68,
                name=f"{name}-{loss}",
                request=Request(
                    path="/models/scratch/train-step", body=nested(text, loss=f'"{loss}"')
                ),
                status=200,
            )


def _degenerate_batches() -> dict[str, NDArray[np.float32]]:
    row = np.arange(8, dtype=np.float32)
    return {
        "zeros": np.zeros((4, 8), np.float32),
        "constant": np.full((4, 8), 2.5, np.float32),
        "rank-1": np.outer(np.arange(1, 5), row).astype(np.float32),
        "duplicated": np.tile(row, (4, 1)),
        "one-row": row[None],
        "one-vector": row,
    }


def _misaligned() -> Iterator[Row]:
    for pad in (1, 2, 3, 5, 7):
        body = npy(declared(GOLDEN), pad=pad)
        yield Row(
            number=69,
            name=f"npy-{pad}",
            request=Request(content_type=NPY, body=body),
            status=200,
            meaning=GOLDEN,
        )
        body = safetensors({"hidden_states": declared(GOLDEN)}, pad=pad)
        yield Row(
            number=69,
            name=f"safetensors-{pad}",
            request=Request(content_type=SAFETENSORS, body=body),
            status=200,
            meaning=GOLDEN,
        )


def _widening() -> Iterator[Row]:
    layer = '{"type": "QRReduction", "n_components": 9%s}'
    for extra in ("", ', "init": "normal"', ', "parametrization": "qr"'):
        document = f'{{"input_size": 8, "layers": [{layer % extra}]}}'.encode()
        yield from refused_on(
            ["/models/new"],
            70,
            f"config{extra[2:].replace(chr(34), '')}",
            document,
            422,
            "config_invalid",
        )
    wide = np.eye(9, 8, dtype=np.float32)
    yield from refused_on(
        ["/models/new"],
        70,
        "weights",
        safetensors({"Q_reduced": declared(wide)}),
        422,
        "artifact_incompatible",
        content_type=SAFETENSORS,
    )
