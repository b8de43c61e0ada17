"""A reduction layer found among named tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.config import MAX_WIDTH
from app.errors import ArtifactInvalid
from app.types import FloatArray, NamedArrays

# How a matrix of one linear map is called, alone or inside one module.
_MATRIX = re.compile(r"([^.]+\.)?(Q_reduced|Q|weight|linear\.weight)")
# What torch stores instead of a parametrized tensor, alone or inside any modules.
_PARAMETRIZED = re.compile(r"(?:.+\.)?parametrizations\.(Q_reduced|Q|weight)\..+")
_FLOATS = (np.float32, np.float16, np.float64)
_FORMS = "'Q_reduced', 'Q', 'weight' or 'linear.weight', also behind one module's name"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedLayer:
    """A linear map `hidden_states @ Q_reduced.T + bias` and the name it was found under.

    Shape: Q_reduced `(n_components, input_size)`, bias `(n_components,)`; float32, finite, owned
    by this object.
    """

    key: str
    Q_reduced: FloatArray
    bias: FloatArray | None

    @property
    def n_components(self) -> int:
        """Width of what comes out."""
        return int(self.Q_reduced.shape[0])

    @property
    def input_size(self) -> int:
        """Width of what goes in."""
        return int(self.Q_reduced.shape[1])

    @property
    def summary(self) -> str:
        """Sizes and the key that was taken, for the operator."""
        bias = "" if self.bias is None else " with bias"
        return f"{self.input_size} → {self.n_components} from key {self.key!r}{bias}"

    @property
    def tensors(self) -> NamedArrays:
        """The serving tensors under their plain names."""
        if self.bias is None:
            return {"Q_reduced": self.Q_reduced}
        return {"Q_reduced": self.Q_reduced, "bias": self.bias}


def from_tensors(named: NamedArrays) -> ImportedLayer:
    """The one layer among tensors from a file or an upload; both sizes come from its shape.

    The messages give numbers and names of ours only, so that an upload is never echoed.

    Raises:
        ArtifactInvalid: `artifact_incompatible` when there is not exactly one matrix with at most
            its bias beside it, or it widens; `artifact_invalid` when its numbers cannot be used.
    """
    check_folded(named)
    keys = [key for key in named if _MATRIX.fullmatch(key)]
    if len(keys) != 1:
        raise incompatible(f"expected exactly one matrix called {_FORMS}, found {len(keys)}")
    key = keys[0]
    bias_key = re.sub(r"[^.]+$", "bias", key)
    extra = named.keys() - {key, bias_key}
    if extra:
        others = "1 other tensor" if len(extra) == 1 else f"{len(extra)} other tensors"
        raise incompatible(f"expected the matrix and at most its bias, found {others}")
    matrix = _float32(named[key], ndim=2, what="matrix of shape (n_components, input_size)")
    if matrix.shape[0] > matrix.shape[1]:
        raise incompatible(
            "expected a matrix of shape (n_components, input_size) with at most as many components "
            f"as inputs, got shape {matrix.shape}; is it transposed?"
        )
    bias = None
    if bias_key in named:
        bias = _float32(named[bias_key], ndim=1, what="bias of shape (n_components,)")
        if len(bias) != len(matrix):
            raise incompatible(
                f"expected a bias of {len(matrix)} numbers for a matrix of shape {matrix.shape}, "
                f"got {len(bias)}"
            )
    return ImportedLayer(key=key, Q_reduced=matrix, bias=bias)


def for_model(named: NamedArrays, names: Collection[str]) -> NamedArrays:
    """The tensors to put in the place of a model's present ones, by the names of those.

    Args:
        named: from a file or an upload.
        names: of the model's serving tensors. One reduction layer is found under every name that
            `from_tensors` knows; the layers of a stack have their own.

    Raises:
        ArtifactInvalid: as `from_tensors` says; names and shapes of a stack are not looked at.
    """
    if "Q_reduced" in names:
        return from_tensors(named).tensors
    check_folded(named)
    return {
        name: array
        if array.dtype.kind in "iu"  # counts of running statistics
        else _narrowed(array, what="layer's tensor")
        for name, array in named.items()
    }


def check_folded(names: Iterable[str]) -> None:
    """Refuses the state_dict of a parametrized layer: it holds no matrix to multiply with.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    for name in names:
        if found := _PARAMETRIZED.fullmatch(name):
            raise incompatible(
                f"expected plain tensors, found a parametrized {found[1]!r}; fold it before "
                "saving: torch.nn.utils.parametrize.remove_parametrizations"
                f'(layer, "{found[1]}")'
            )


def incompatible(detail: str) -> ArtifactInvalid:
    """The error of a file that is whole, and not what a layer needs."""
    return ArtifactInvalid(detail, code="artifact_incompatible")


def _float32(array: NDArray[np.generic], *, ndim: int, what: str) -> FloatArray:
    if array.ndim != ndim or not all(1 <= size <= MAX_WIDTH for size in array.shape):
        raise incompatible(
            f"expected a {what}, each from 1 to {MAX_WIDTH}, got shape {array.shape}"
        )
    return _narrowed(array, what=what)


def _narrowed(array: NDArray[np.generic], *, what: str) -> FloatArray:
    if array.dtype.type not in _FLOATS:
        raise incompatible(f"expected a {what} of float16, bfloat16, float32 or float64")
    with np.errstate(over="ignore"):  # what overflows is refused in the next line
        narrowed = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(narrowed).all():
        raise ArtifactInvalid(
            f"expected a {what} of finite numbers that float32 can hold (up to 3.4e38), "
            "found NaN, infinity or a larger number"
        )
    return narrowed
