"""Rows 71 and 72: targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.security.catalogue.request import (
    SAFETENSORS,
    Request,
    Row,
    base64_text,
    declared,
    nested,
    safetensors,
)

_ROWS = np.arange(32, dtype=np.float32).reshape(4, 8)
_PATH = "/train-step"


def rows() -> Iterator[Row]:
    yield from _not_finite()
    yield from _shapes()


def _not_finite() -> Iterator[Row]:
    for loss in ("mse", "cosine"):
        for value in (np.nan, np.inf, -np.inf):
            targets = np.ones((4, 3), np.float32)
            targets[3, 2] = value
            yield from _refused(71, f"{value}-{loss}", loss, targets, "non_finite_input")
        for field, code, status in (
            ("NaN", "malformed_json", 400),
            ("1e999", "non_finite_input", 422),
            ("1e39", "out_of_range", 422),
        ):
            text = f"[[1, 1, {field}]]"
            body = nested("[[1, 1, 1, 1, 1, 1, 1, 1]]", targets=text, loss=f'"{loss}"')
            yield Row(
                number=71,
                name=f"{field}-{loss}-json",
                request=Request(path=_PATH, body=body),
                status=status,
                code=code,
            )


def _shapes() -> Iterator[Row]:
    for loss in ("mse", "cosine"):
        for shape in ((4, 1), (4,), (1, 3), (3,), (3, 4), (4, 4), (12,), (1, 4, 3), (2, 2, 3)):
            targets = np.ones(shape, np.float32)
            name = f"{'x'.join(map(str, shape))}-{loss}"
            yield from _refused(72, name, loss, targets, "target_shape_mismatch")
            body = nested(str(_ROWS.tolist()), targets=str(targets.tolist()), loss=f'"{loss}"')
            yield Row(
                number=72,
                name=f"{name}-json",
                request=Request(path=_PATH, body=body),
                status=422,
                code="target_shape_mismatch",
            )


def _refused(
    number: int, name: str, loss: str, targets: NDArray[np.float32], code: str
) -> Iterator[Row]:
    """The same targets in base64 and in safetensors."""
    fields = {"targets": base64_text(declared(targets)), "loss": f'"{loss}"'}
    in_base64 = nested(base64_text(declared(_ROWS)), **fields)
    named = safetensors({"hidden_states": declared(_ROWS), "targets": declared(targets)})
    for form, request in (
        ("base64", Request(path=_PATH, body=in_base64)),
        (
            "safetensors",
            Request(path=f"{_PATH}?loss={loss}", content_type=SAFETENSORS, body=named),
        ),
    ):
        yield Row(number=number, name=f"{name}-{form}", request=request, status=422, code=code)
