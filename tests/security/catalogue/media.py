"""Rows 31 to 39: media type, encoding, JSON that is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.security.catalogue.request import (
    GOLDEN,
    HOT,
    JSON,
    NPY,
    SAFETENSORS,
    Request,
    Row,
    declared,
    nested,
    npy,
    refused_on,
    row_of,
    safetensors,
)

_PUT = "/models/new"
_ALL = (*HOT, _PUT)
_GOOD = nested(row_of())
_GOOD_NPY = npy(declared(GOLDEN))
_GOOD_SAFETENSORS = safetensors({"hidden_states": declared(GOLDEN)})
_CONFIG = b'{"input_size": 8, "layers": [{"type": "QRReduction", "n_components": 3}]'
_LONE = "\\ud800"


def rows() -> Iterator[Row]:
    yield from _media_types()
    yield from _accept()
    yield from _empty_or_broken()
    yield from _encodings()
    yield from _deep()


def _media_types() -> Iterator[Row]:
    wrong = (415, "unsupported_media_type")
    for path in _ALL:
        body = _CONFIG + b"}" if path == _PUT else _GOOD
        for number, content_type in (
            (31, "text/plain"),
            (32, None),
            (33, "multipart/form-data; boundary=frontier"),
            (33, "application/x-www-form-urlencoded"),
        ):
            name = (content_type or "none").partition(";")[0].replace("/", "-")
            yield from refused_on([path], number, name, body, *wrong, content_type=content_type)
    for content_type in ("text/plain", None, "application/octet-stream"):
        name = f"binary-{content_type}".replace("/", "-")
        yield from refused_on(_ALL, 31, name, _GOOD_SAFETENSORS, *wrong, content_type=content_type)
    yield from refused_on(("/train-step", _PUT), 31, "npy", _GOOD_NPY, *wrong, content_type=NPY)


def _accept() -> Iterator[Row]:
    for content_type, body in (
        (JSON, _GOOD),
        (NPY, _GOOD_NPY),
        (SAFETENSORS, _GOOD_SAFETENSORS),
    ):
        form = content_type.rpartition("/")[2]
        for accept in ("text/html", "text/html, image/png;q=0.5", "application/json;q=0"):
            yield Row(
                number=34,
                name=f"{accept.replace('/', '-')}-{form}",
                request=Request(content_type=content_type, accept=accept, body=body),
                status=406,
                code="not_acceptable",
            )
    yield Row(
        number=34,
        name="browser",
        request=Request(accept="text/html, application/xhtml+xml, */*;q=0.8", body=_GOOD),
        status=200,
        meaning=np.ones((1, 8), np.float32),
    )


def _empty_or_broken() -> Iterator[Row]:
    yield from refused_on(_ALL, 35, "empty", b"", 400, "empty_body")
    yield from refused_on(
        HOT, 35, "empty-safetensors", b"", 400, "empty_body", content_type=SAFETENSORS
    )
    yield from refused_on(("/reduce",), 35, "empty-npy", b"", 400, "empty_body", content_type=NPY)
    malformed = (400, "malformed_json")
    for path in _ALL:
        whole = _CONFIG + b"}" if path == _PUT else _GOOD
        for name, body, offset in (
            ("truncated", whole[:-2], len(whole) - 2),
            ("trailing-garbage", whole + b" x", len(whole) + 1),
            ("two-documents", whole + whole, len(whole)),
        ):
            detail = f"byte {offset}"
            yield from refused_on([path], 36, name, body, *malformed, detail=detail)
    for name, text in (("spaces", b"   "), ("word", b"nonsense"), ("comment", b"{/* */}")):
        yield from refused_on(_ALL, 36, name, text, *malformed)
    yield from _broken_binary()


def _broken_binary() -> Iterator[Row]:
    for name, body, code in (
        ("truncated-header", _GOOD_SAFETENSORS[:40], "malformed_safetensors"),
        ("truncated-values", _GOOD_SAFETENSORS[:-1], "length_mismatch"),
        ("trailing", _GOOD_SAFETENSORS + b"x", "length_mismatch"),
        ("seven-bytes", b"\0" * 7, "malformed_safetensors"),
    ):
        yield from refused_on(
            HOT,
            36,
            f"safetensors-{name}",
            body,
            422,
            code,
            content_type=SAFETENSORS,
        )
    for name, body, code in (
        ("truncated-magic", _GOOD_NPY[:5], "malformed_npy"),
        ("truncated-header", _GOOD_NPY[:40], "malformed_npy"),
        ("truncated-values", _GOOD_NPY[:-1], "length_mismatch"),
        ("trailing", _GOOD_NPY + b"x", "length_mismatch"),
    ):
        yield from refused_on(["/reduce"], 36, f"npy-{name}", body, 422, code, content_type=NPY)


def _encodings() -> Iterator[Row]:
    for path in _ALL:
        text = (_CONFIG + b"}" if path == _PUT else _GOOD).decode()
        for name, body in (
            ("invalid-utf-8", text.encode().replace(b"{", b'{"\xff\xfe": 1, ', 1)),
            ("overlong-utf-8", text.encode().replace(b"{", b'{"\xc0\xaf": 1, ', 1)),
            ("utf-16", text.encode("utf-16")),
            ("utf-16-no-mark", text.encode("utf-16-le")),
            ("utf-32", text.encode("utf-32")),
            ("utf-8-mark", text.encode("utf-8-sig")),
        ):
            yield from refused_on([path], 37, name, body, 400, "malformed_json")
    for name, key in (("alone", _LONE), ("low", "\\udc00"), ("inside", f"a{_LONE}b")):
        yield from refused_on(
            HOT,
            38,
            name,
            _GOOD[:-1] + f', "{key}": 1}}'.encode(),
            422,
            "unknown_field",
        )


def _deep() -> Iterator[Row]:
    deep = "[" * 100_000 + "1" + "]" * 100_000
    objects = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    malformed = (400, "malformed_json")
    yield from refused_on(HOT, 39, "hidden-states", nested(deep), *malformed)
    yield from refused_on(_ALL, 39, "root", deep.encode, *malformed)
    yield from refused_on(_ALL, 39, "objects", objects, *malformed)
    yield from refused_on(_ALL, 39, "unclosed", b"[" * 100_000, *malformed)
    yield from refused_on([_PUT], 39, "layers", b'{"layers": ' + deep.encode() + b"}", *malformed)
    yield from refused_on(["/train-step"], 39, "loss", nested(row_of(), loss=deep), *malformed)
