"""A row of the bad-input catalogue, and the requests that rows are made of."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = "application/json"
NPY = "application/x-npy"
SAFETENSORS = "application/x-safetensors"

HOT = ("/reduce", "/train-step")
GOLDEN = np.arange(1, 9, dtype=np.float32).reshape(1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent: exactly these headers and bytes; a large body is made when it is sent."""

    path: str = "/reduce"
    method: str = "POST"
    content_type: str | None = JSON
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], bytes] = b""

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else self.body()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One input and what must come back.

    Attributes:
        number: of the row in the catalogue.
        code: of the refusal.
        detail: must stand in the refusal's detail.
        meaning: of an accepted reduce, the hidden states that the body stands for.
    """

    number: int
    name: str
    request: Request
    status: int
    code: str = ""
    detail: str = ""
    meaning: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """An array as a body declares it, truthfully or not; dtype by its numpy name."""

    shape: Sequence[Any]
    octets: bytes
    dtype: str = "float32"


_NPY_DTYPES = {"float32": "<f4", "float16": "<f2", "float64": "<f8"}
_SAFETENSORS_DTYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "bfloat16": "BF16"}


def declared(array: NDArray[Any]) -> Declared:
    """A truthful declaration."""
    return Declared(list(array.shape), array.tobytes(), array.dtype.name)


def nested(text: str, **fields: str) -> bytes:
    """A JSON body from JSON texts."""
    others = "".join(f', "{name}": {value}' for name, value in fields.items())
    return f'{{"hidden_states": {text}{others}}}'.encode()


def row_of(*first: str) -> str:
    """The JSON text of one row of eight numbers that begins with these."""
    return f"[[{', '.join([*first, *['1'] * (8 - len(first))])}]]"


def base64_text(array: Declared) -> str:
    """The JSON text of an array in base64."""
    data = base64.b64encode(array.octets).decode()
    return json.dumps({"shape": array.shape, "dtype": array.dtype, "data": data})


def npy(array: Declared, *, fortran: bool = False, pad: int = 64) -> bytes:
    """A `.npy` file, version 1.0; `pad` aligns the values."""
    descr = _NPY_DTYPES.get(array.dtype, array.dtype)
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {tuple(array.shape)}, }}"
    header += " " * (-(len(header) + 11) % pad) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.octets


def safetensors(arrays: Mapping[str, Declared], *, pad: int = 8) -> bytes:
    """A safetensors file; `pad` aligns the values."""
    header: dict[str, Any] = {}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + len(array.octets)
        dtype = _SAFETENSORS_DTYPES.get(array.dtype, array.dtype)
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % pad)
    values = b"".join(array.octets for array in arrays.values())
    return len(text).to_bytes(8, "little") + text + values


def in_base64(array: Declared, path: str = "/reduce") -> Request:
    return Request(path=path, body=nested(base64_text(array)))


def in_npy(array: Declared, path: str = "/reduce") -> Request:
    return Request(path=path, content_type=NPY, body=npy(array))


def in_safetensors(array: Declared, path: str = "/reduce") -> Request:
    body = safetensors({"hidden_states": array})
    return Request(path=path, content_type=SAFETENSORS, body=body)


FORMS: Mapping[str, Callable[..., Request]] = {
    "base64": in_base64,
    "npy": in_npy,
    "safetensors": in_safetensors,
}


def refused_in_each_form(
    number: int,
    name: str,
    array: Declared,
    code: str,
    *,
    status: int = 422,
    detail: str = "",
    path: str = "/reduce",
    **codes: str,
) -> Iterator[Row]:
    """The same declaration in base64, npy and safetensors; `codes` names other codes by form."""
    for form, encode in FORMS.items():
        yield Row(
            number=number,
            name=f"{name}-{form}",
            request=encode(array, path),
            status=status,
            code=codes.get(form, code),
            detail=detail,
        )


def answered_in_each_form(number: int, name: str, array: NDArray[Any]) -> Iterator[Row]:
    """An array that is good in base64, npy and safetensors."""
    for form, encode in FORMS.items():
        yield Row(
            number=number,
            name=f"{name}-{form}",
            request=encode(declared(array)),
            status=200,
            meaning=array,
        )


def refused_on(
    paths: Sequence[str],
    number: int,
    name: str,
    body: bytes | Callable[[], bytes],
    status: int,
    code: str,
    *,
    content_type: str | None = JSON,
    detail: str = "",
) -> Iterator[Row]:
    """The same body on several routes; a path of two parts is a PUT."""
    for path in paths:
        method = "PUT" if path.startswith("/models/") else "POST"
        yield Row(
            number=number,
            name=f"{name}-{path.strip('/').replace('/', '-')}",
            request=Request(path=path, method=method, content_type=content_type, body=body),
            status=status,
            code=code,
            detail=detail,
        )
