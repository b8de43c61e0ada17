from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import ArtifactInvalid
from app.exchange import from_tensors

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([7, 8], dtype=np.float32)


@pytest.mark.parametrize(
    ("key", "bias_key"),
    [
        ("Q_reduced", "bias"),
        ("Q", "bias"),
        ("weight", "bias"),
        ("linear.weight", "linear.bias"),
        ("reducer.Q_reduced", "reducer.bias"),
        ("0.weight", "0.bias"),
        ("module.linear.weight", "module.linear.bias"),
    ],
)
def test_the_matrix_is_found_with_and_without_its_bias(key: str, bias_key: str) -> None:
    alone = from_tensors({key: MATRIX})
    layer = from_tensors({bias_key: BIAS, key: MATRIX})
    assert (alone.key, alone.bias, alone.n_components, alone.input_size) == (key, None, 2, 3)
    assert layer.bias is not None
    np.testing.assert_array_equal(layer.bias, BIAS)
    np.testing.assert_array_equal(layer.Q_reduced, MATRIX)


@pytest.mark.parametrize("dtype", [">f4", "<f2", "<f8", ">f8"])
def test_the_layer_owns_plain_float32(dtype: str) -> None:
    given = np.asfortranarray(MATRIX.astype(dtype))
    matrix = from_tensors({"Q": given}).Q_reduced
    given[:] = 0
    assert (matrix.dtype, matrix.flags.c_contiguous) == (np.dtype(np.float32), True)
    np.testing.assert_array_equal(matrix, MATRIX)


def filled(shape: tuple[int, ...], value: float = 1.0, dtype: str = "<f4") -> NDArray[Any]:
    return np.full(shape, value, dtype=dtype)


BAD: dict[str, tuple[dict[str, NDArray[Any]], str, str]] = {
    "nothing": ({}, "artifact_incompatible", "found 0"),
    "no candidate": ({"kernel": MATRIX}, "artifact_incompatible", "found 0"),
    "two modules deep": ({"a.b.weight": MATRIX}, "artifact_incompatible", "found 0"),
    "two candidates": ({"Q": MATRIX, "Q_reduced": MATRIX}, "artifact_incompatible", "found 2"),
    "two layers": ({"0.weight": MATRIX, "1.weight": MATRIX}, "artifact_incompatible", "found 2"),
    "an extra tensor": ({"Q": MATRIX, "mean": BIAS}, "artifact_incompatible", "1 other tensor$"),
    "another's bias": ({"a.Q": MATRIX, "bias": BIAS}, "artifact_incompatible", "1 other tensor$"),
    "two extra": (
        {"Q": MATRIX, "mean": BIAS, "std": BIAS},
        "artifact_incompatible",
        "2 other tensors$",
    ),
    "widening": ({"Q": MATRIX.T}, "artifact_incompatible", r"got shape \(3, 2\); is it transposed"),
    "1-D": ({"Q": BIAS}, "artifact_incompatible", r"got shape \(2,\)"),
    "3-D": ({"Q": filled((1, 2, 3))}, "artifact_incompatible", r"got shape \(1, 2, 3\)"),
    "no rows": ({"Q": filled((0, 3))}, "artifact_incompatible", r"got shape \(0, 3\)"),
    "too wide": ({"Q": filled((1, 65_537))}, "artifact_incompatible", "65537"),
    "integers": ({"Q": filled((2, 3), dtype="<i4")}, "artifact_incompatible", "float32"),
    "complex": ({"Q": filled((2, 3), dtype="<c8")}, "artifact_incompatible", "float32"),
    "long bias": ({"Q": MATRIX, "bias": filled((3,))}, "artifact_incompatible", "got 3"),
    "2-D bias": ({"Q": MATRIX, "bias": MATRIX}, "artifact_incompatible", "bias of shape"),
    "NaN": ({"Q": filled((2, 3), np.nan)}, "artifact_invalid", "finite"),
    "infinity": ({"Q": filled((2, 3), np.inf, "<f2")}, "artifact_invalid", "finite"),
    "beyond float32": ({"Q": filled((2, 3), 1e39, "<f8")}, "artifact_invalid", "finite"),
    "NaN bias": ({"Q": MATRIX, "bias": filled((2,), np.nan)}, "artifact_invalid", "finite"),
}


@pytest.mark.parametrize(("named", "code", "found"), BAD.values(), ids=BAD)
def test_what_is_not_one_layer_is_refused_with_what_was_found(
    named: dict[str, NDArray[Any]], code: str, found: str
) -> None:
    with pytest.raises(ArtifactInvalid, match=found) as raised:
        from_tensors(named)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("parametrizations.Q_reduced.original", "Q_reduced"),
        ("a.b.parametrizations.Q.0.base", "Q"),
        ("linear.parametrizations.weight.original1", "weight"),
    ],
)
def test_a_parametrized_layer_is_refused_with_how_to_fold_it(name: str, kind: str) -> None:
    fold = f'torch.nn.utils.parametrize.remove_parametrizations(layer, "{kind}")'
    with pytest.raises(ArtifactInvalid, match=re.escape(fold)) as raised:
        from_tensors({"bias": BIAS, name: MATRIX})
    assert raised.value.code == "artifact_incompatible"


def test_a_square_matrix_is_a_layer() -> None:
    assert from_tensors({"Q": filled((3, 3))}).n_components == 3


def test_the_names_of_an_upload_are_not_echoed() -> None:
    with pytest.raises(ArtifactInvalid) as raised:
        from_tensors({"secret.Q": MATRIX, "secret.other": MATRIX})
    assert "secret" not in raised.value.detail
