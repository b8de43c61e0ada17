"""What the document cannot say about bodies: binary forms, and rows as wide as the models' are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from numpy.typing import NDArray
from schemathesis import Case, HookContext

from tests.conftest import MODELS
from tests.security.catalogue.request import NPY, SAFETENSORS, declared, npy, safetensors
from tests.stream import FRAMES, NDJSON, json_record, with_length

_WIDTHS = {name: document["input_size"] for name, document in MODELS.items()}
_DTYPES = ("float32", "float16", "float64")
_BESIDE = (*("targets", "positives", "negatives", "labels", "sample_weights", "mask", "tangents"),)
_FIT_FOR_JSON = 3  # of four bodies, so many are given rows that a model can use

Rows = NDArray[np.floating[Any]]


def _rows(num_rows: int, width: int, dtype: str = "float32") -> Rows:
    return np.sin(np.arange(num_rows * width)).reshape(num_rows, width).astype(dtype)


@st.composite
def _arrays(draw: st.DrawFn) -> Rows:
    width = draw(st.sampled_from((8, 8, 8, 384, 3)))
    return _rows(draw(st.integers(1, 5)), width, draw(st.sampled_from(_DTYPES)))


@st.composite
def _tensors(draw: st.DrawFn) -> bytes:
    """Rows to reduce or to train on, or weights to upload."""
    rows = draw(_arrays())
    named = draw(
        st.sampled_from(
            (
                {"hidden_states": rows},
                {"hidden_states": rows, "targets": _rows(len(rows), 3)},
                {"hidden_states": rows, "sample_weights": np.ones(len(rows), np.float32)},
                {"hidden_states": rows, "positives": -rows, "labels": np.arange(len(rows))},
                {"hidden_states": rows, "tangents": -rows},
                {"Q_reduced": np.eye(3, 8, dtype=np.float32)},
                {"weight": _rows(3, 8), "bias": np.ones(3, np.float32)},
            )
        )
    )
    return safetensors({name: declared(array) for name, array in named.items()})


def _torn(whole: bytes) -> st.SearchStrategy[bytes]:
    """Mostly whole, sometimes ending early, sometimes with other bytes within."""
    cut = st.integers(1, len(whole)).map(lambda end: whole[:end])
    spoilt = st.binary(min_size=1, max_size=8).map(lambda octets: whole[:20] + octets + whole[28:])
    return st.one_of(st.just(whole), st.just(whole), cut, spoilt)


_lines = st.lists(
    st.builds(
        lambda rows, key: json_record(key, hidden_states=rows),
        _arrays(),
        st.none() | st.text("abc", min_size=1, max_size=2),
    ),
    min_size=1,
    max_size=3,
).map(b"".join)

for _name, _strategy in (
    (NPY, _arrays().map(lambda rows: npy(declared(rows)))),
    (SAFETENSORS, _tensors()),
    (NDJSON, _lines),
    (FRAMES, st.lists(_tensors().map(with_length), min_size=1, max_size=3).map(b"".join)),
):
    schemathesis.openapi.media_type(_name, _strategy.flatmap(_torn))


@schemathesis.deserializer(NDJSON)
def last_line(_: Any, response: Any) -> Any:
    """The line that settles a stream; the document describes one line."""
    return json.loads(response.content.splitlines()[-1])


@schemathesis.hook
def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
    """Let requests get past the first check: headers and rows that can be used."""
    _mend_headers(case)
    if isinstance(case.body, dict) and "hidden_states" in case.body:
        _mend_rows(case, case.body)
    if isinstance(case.body, dict) and isinstance(case.body.get("inputs"), list):
        _mend_tensor(case, case.body)
    return case


def _mend_headers(case: Case[Any]) -> None:
    # The phase «coverage» makes headers of letters and digits only, none of which is an If-Match.
    if case.headers and case.headers.get("If-Match") == "0":
        case.headers["If-Match"] = "*"


def _mend_rows(case: Case[Any], body: dict[str, Any]) -> None:
    text = json.dumps(body, default=str)
    if len(text) % 4 >= _FIT_FOR_JSON:
        return
    rows = _in_json(_rows(len(text) % 5 + 1, _width(case)), text)
    unfit = (*_BESIDE, "loss", "method") if len(text) % 3 else ()
    rest = {name: value for name, value in body.items() if name not in unfit}
    tangents = {"tangents": rows} if case.path.endswith("/jvp") else {}
    case.body = {**rest, **tangents, "hidden_states": rows}


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """The models that every other request is about stay; and a body that is empty is one."""
    goes = case.method == "DELETE" or case.path.endswith("/unload")
    if goes and (case.path_parameters or {}).get("model") in MODELS:
        return False
    # The raw form: no bytes are a tensor of no rows, and not, as it seems, a body left out.
    headers: Mapping[str, Any] = case.headers or {}
    return headers.get("Inference-Header-Content-Length") != "0"


def _mend_tensor(case: Case[Any], body: dict[str, Any]) -> None:
    if len(json.dumps(body, default=str)) % 2:
        rows = _rows(2, _width(case))
        tensor: Any = {"name": "hidden_states", "datatype": "FP32", "shape": list(rows.shape)}
        case.body = {**body, "inputs": [tensor | {"data": rows.ravel().tolist()}]}


def _width(case: Case[Any]) -> int:
    return int(_WIDTHS.get((case.path_parameters or {}).get("model", "small"), 8))


def _in_json(rows: Rows, text: str) -> Any:
    if len(text) % 2:
        return rows.tolist()
    data = base64.b64encode(rows.tobytes()).decode()
    return {"shape": list(rows.shape), "dtype": "float32", "data": data}
