"""Rows 97, 98, 100, 102 to 107 and 109: names, and files that are uploaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from tests.security.catalogue.request import (
    GOLDEN,
    JSON,
    NPY,
    SAFETENSORS,
    Declared,
    Request,
    Row,
    declared,
    in_npy,
    nested,
    npy,
    row_of,
    safetensors,
)

_GOOD = safetensors({"Q_reduced": declared(np.eye(3, 8, dtype=np.float32))})
_CONFIG = b'{"input_size": 8, "layers": [{"type": "QRReduction", "n_components": 3}]}'
_INVALID = (422, "artifact_invalid")
_INCOMPATIBLE = (422, "artifact_incompatible")
_F32 = '"dtype":"F32"'


def rows() -> Iterator[Row]:
    yield from _names()
    yield from _headers()
    yield from _surprises()
    yield from _other_models()
    yield from _npy()
    yield from _other_formats()


def _names() -> Iterator[Row]:
    """A client library mends dots and slashes: tests/contract/test_model_names.py sends those."""
    bodies = (
        ("PUT", "", JSON, _CONFIG),
        ("PUT", "", SAFETENSORS, _GOOD),
        ("POST", "/reduce", JSON, nested(row_of())),
        ("POST", "/reduce", NPY, npy(declared(GOLDEN))),
        ("POST", "/train-step", SAFETENSORS, safetensors({"hidden_states": declared(GOLDEN)})),
    )
    odd = ("-rf", "A", "a" * 65, "a%00b", "a%0A", "%EF%BD%81", "%E2%84%AA", "%EF%AC%81")
    for method, suffix, content_type, body in bodies:
        form = f"{method}{suffix.replace('/', '-')}-{content_type.rpartition('/')[2]}"
        for name in (*odd, "a%E2%80%8Bb", "%D9%A1"):
            request = Request(
                path=f"/models/{name}{suffix}",
                method=method,
                content_type=content_type,
                body=body,
            )
            yield Row(
                number=97,
                name=f"{name[:12]}-{form}",
                request=request,
                status=422,
                code="model_name_invalid",
            )
        name, status, code = (
            ("small", 409, "model_exists") if method == "PUT" else ("none", 404, "model_not_found")
        )
        request = Request(
            path=f"/models/{name}{suffix}", method=method, content_type=content_type, body=body
        )
        number = 100 if method == "PUT" else 98
        yield Row(number=number, name=form, request=request, status=status, code=code)
    upper = Request(path="/models/SMALL", method="PUT", body=_CONFIG)
    yield Row(number=100, name="other-case", request=upper, status=422, code="model_name_invalid")


def _headers() -> Iterator[Row]:
    """Headers that are none, over the limit, or do not cover the values exactly."""
    one = f'"Q_reduced":{{{_F32},"shape":[1,8],"data_offsets":[0,32]}}'
    twice = f'"b":{{{_F32},"shape":[1,4],"data_offsets":[16,32]}}'
    for name, content in (
        ("length-2^63", (2**63).to_bytes(8, "little") + _GOOD[8:]),
        ("length-100-MB", (100_000_001).to_bytes(8, "little") + _GOOD[8:]),
        ("length-beyond-file", (len(_GOOD)).to_bytes(8, "little") + _GOOD[8:]),
        ("overlap", _file(f"{{{one},{twice}}}", 32)),
        ("hole", _file(f'{{"Q_reduced":{{{_F32},"shape":[1,4],"data_offsets":[16,32]}}}}', 32)),
        ("trailing", _GOOD + b"\0"),
        ("short", _GOOD[:-1]),
        ("shape-overflow", _file(f"{{{one.replace('[1,8]', '[4294967296,4294967296]')}}}", 32)),
        ("negative", _file(f"{{{one.replace('[1,8]', '[-1,-8]')}}}", 32)),
        ("negative-offset", _file(f"{{{one.replace('[0,32]', '[-32,0]')}}}", 32)),
        ("unknown-dtype", _file(f"{{{one.replace('F32', 'F12')}}}", 32)),
        ("metadata-no-text", _file(f'{{"__metadata__":{{"a":1}},{one}}}', 32)),
        ("metadata-deep", _file(f'{{"__metadata__":{"[" * 5000}{"]" * 5000},{one}}}', 32)),
        ("no-object", _file("[]", 0)),
        ("empty-header", _file("", 0)),
    ):
        yield from _uploaded(102, name, content, *_INVALID)


def _surprises() -> Iterator[Row]:
    """What the library's own reader takes."""
    twice = f'"Q_reduced":{{{_F32},"shape":[1,8],"data_offsets":[0,32]}}'
    empty = ",".join(f'"t{k}":{{{_F32},"shape":[0],"data_offsets":[0,0]}}' for k in range(17))
    bad = np.eye(3, 8, dtype=np.float32)
    bad[2, 7] = np.nan
    for name, content, refusal in (
        ("name-twice", _file(f"{{{twice},{twice}}}", 32), _INVALID),
        ("nan", safetensors({"Q_reduced": declared(bad)}), _INVALID),
        (
            "infinite",
            safetensors({"Q_reduced": declared(np.full((3, 8), np.inf, np.float32))}),
            _INVALID,
        ),
        ("no-tensors", safetensors({}), _INCOMPATIBLE),
        ("huge-and-empty", safetensors({"Q_reduced": Declared([0, 2**62], b"")}), _INVALID),
        ("name-with-dots", safetensors({"../../x": declared(np.eye(3, 8))}), _INCOMPATIBLE),
    ):
        yield from _uploaded(103, name, content, *refusal)
    # A stack may have many tensors: the model that is there says that these are not its own.
    many = zip(
        _uploaded(103, "17-tensors", _file(f"{{{empty}}}", 0), *_INVALID),
        (_INVALID, _INCOMPATIBLE),
        strict=True,
    )
    for row, (status, code) in many:
        yield replace(row, status=status, code=code)
    request = Request(
        path="/models/new", method="PUT", content_type=SAFETENSORS, body=_many_tensors
    )
    yield Row(
        number=103,
        name="200000-tensors",
        request=request,
        status=422,
        code="artifact_invalid",
    )


def _many_tensors() -> bytes:
    entries = (f'"t{k}":{{{_F32},"shape":[0],"data_offsets":[0,0]}}' for k in range(200_000))
    return _file(f"{{{','.join(entries)}}}", 0)


def _other_models() -> Iterator[Row]:
    """Whole files that hold no layer, or not one for this model."""
    eye = declared(np.eye(3, 8, dtype=np.float32))
    for name, tensors in _unfit(eye).items():
        yield from _uploaded(104, name, safetensors(tensors), *_INCOMPATIBLE)
    for name, matrix in (
        ("narrow", np.eye(3, 7, dtype=np.float32)),
        ("fewer-components", np.eye(2, 8, dtype=np.float32)),
    ):
        request = Request(
            path="/models/small",
            method="PUT",
            content_type=SAFETENSORS,
            headers={"if-match": "*"},
            body=safetensors({"Q_reduced": declared(matrix)}),
        )
        yield Row(
            number=104,
            name=f"replace-{name}",
            request=request,
            status=422,
            code="artifact_incompatible",
        )


def _unfit(eye: Declared) -> Mapping[str, Mapping[str, Declared]]:
    return {
        "extra": {"Q_reduced": eye, "surprise": eye},
        "missing": {"bias": declared(np.ones(3, np.float32))},
        "two-matrices": {"Q_reduced": eye, "weight": eye},
        "integers": {"Q_reduced": Declared([3, 8], b"\0" * 192, "I64")},
        "wide": {"Q_reduced": declared(np.eye(9, 8, dtype=np.float32))},
        "vector": {"Q_reduced": declared(np.ones(8, np.float32))},
        "long-bias": {"Q_reduced": eye, "bias": declared(np.ones(4, np.float32))},
    }


def _npy() -> Iterator[Row]:
    """Headers that numpy reads otherwise, or not at all; ours never shows it one."""
    octets = GOLDEN.tobytes()
    good = npy(declared(GOLDEN))
    deep = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {'(' * 500}1{')' * 500}, }}\n"
    for name, body, code in (
        ("truncated", good[:-1], "length_mismatch"),
        ("trailing", good + b"\0", "length_mismatch"),
        ("2^40-values", npy(Declared([2**40], octets)), "length_mismatch"),
        ("wrapping", npy(Declared([2**62, 4], octets)), "shape_overflow"),
        ("object", npy(Declared([1], octets, "|O")), "unsupported_dtype"),
        ("complex", npy(Declared([1, 4], octets, "<c8")), "unsupported_dtype"),
        ("text", npy(Declared([1, 8], octets, "<U1")), "unsupported_dtype"),
        ("datetime", npy(Declared([1, 4], octets, "<M8[s]")), "unsupported_dtype"),
        ("deep-parentheses", _npy_with(deep), "malformed_npy"),
        ("huge-header", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{", "malformed_npy"),
        ("version-9", b"\x93NUMPY\x09\x00" + good[8:], "malformed_npy"),
        ("14-bytes", b"\x93NUMPY\x01\x00\x04\x00{\n\x0c\x00", "malformed_npy"),
    ):
        request = Request(content_type=NPY, body=body)
        yield Row(number=105, name=name, request=request, status=422, code=code)
    for descr in ("<i4", "|b1"):
        request = in_npy(Declared([1, 8], octets, descr))
        yield Row(number=105, name=descr, request=request, status=422, code="unsupported_dtype")


def _npy_with(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def _other_formats() -> Iterator[Row]:
    bomb = _zip({"hidden_states.npy": npy(Declared([1 << 20], b"\0" * (4 << 20)))})
    media = (415, "unsupported_media_type")
    for content_type in ("application/zip", "application/x-npz", "application/octet-stream"):
        for path in ("/reduce", "/train-step"):
            request = Request(path=path, content_type=content_type, body=bomb)
            name = f"{content_type}-{path[1:]}".replace("/", "-")
            yield Row(number=106, name=name, request=request, status=415, code=media[1])
    gadget = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85q\x01Rq\x02."
    script = _zip({"a/data.pkl": gadget, "a/constants.pkl": b"\x80\x02N.", "a/version": b"3\n"})
    files = {"pickle": gadget, "torchscript": script, "truncated-zip": script[:40]}
    for name, content in files.items():
        for content_type in ("application/octet-stream", "application/x-pytorch"):
            request = Request(
                path="/models/new", method="PUT", content_type=content_type, body=content
            )
            word = content_type.rpartition("-")[2]
            yield Row(number=107, name=f"{name}-{word}", request=request, status=415, code=media[1])
    others = {"gguf": b"GGUF\x03" + b"\0" * 64, "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 64}
    others |= {"onnx": b"\x08\x07\x12\x07pytorch:" + b"\0" * 64, **files}
    for name, content in others.items():
        yield from _uploaded(109, name, content, *_INVALID)


def _zip(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _file(header: str, num_bytes: int) -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + b"\0" * num_bytes


def _uploaded(number: int, name: str, content: bytes, status: int, code: str) -> Iterator[Row]:
    """The same file as a new model, and in the place of the weights of one that is there."""
    for path, headers in (("/models/new", {}), ("/models/small", {"if-match": "*"})):
        request = Request(
            path=path, method="PUT", content_type=SAFETENSORS, headers=headers, body=content
        )
        place = path.rpartition("/")[2]
        yield Row(number=number, name=f"{name}-{place}", request=request, status=status, code=code)
