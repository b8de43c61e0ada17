"""Rows that stay orthonormal: restored after each step, or by construction."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations as torch_parametrizations

from app.errors import ConfigInvalid
from app.layers.orthonormal import orthonormality_error, retracted
from app.layers.parametrizations.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    broken,
    chain_of,
)

# What `max |Q Qᵀ - I|` of given weights may be where orthonormal rows are promised. Our own are
# below 1e-6; weights that another tool made orthonormal in float32 are below this.
ORTHONORMALITY_TOLERANCE = 1e-5


class _Orthonormal(Parametrization):
    """Promises orthonormal rows."""

    is_orthonormal: ClassVar[bool] = True

    def check_given(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.check_given`."""
        del layer  # the promise is about the value alone
        error = orthonormality_error(value)
        # Written so that a NaN is refused.
        if not error <= ORTHONORMALITY_TOLERANCE:
            promise = f"orthonormal rows of {name}, to {ORTHONORMALITY_TOLERANCE:g}"
            raise broken(promise, f"an error of {error:.2g}")


@PARAMETRIZATIONS.register("qr")
class OrthonormalRows(_Orthonormal):
    """Rows made orthonormal again after each accepted step; `max |Q Qᵀ - I| ≤ 1e-6`.

    Sign-fixed QR, or three Newton-Schulz iterations while `‖Q Qᵀ - I‖ ≤ 0.2` (measured; Note [Two
    retractions] in orthonormal.py). The parameter stays the same object, so that the optimizer's
    state carries over, and the result depends on the weight alone, so that replay gives the same
    bits. A weight that is not finite stays as it is, for the trainer to see.
    """

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Parametrization.check`.

        Raises:
            ConfigInvalid: not a matrix, or more rows than can be orthonormal.
        """
        _check_matrix(shape, "qr", pointer=pointer)
        if shape[0] > shape[1]:
            raise ConfigInvalid(
                f"parametrization 'qr' expects n_components of at most input_size {shape[1]}, "
                f"got {shape[0]}; lower it or choose another parametrization",
                pointer=pointer,
            )

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Make the rows orthonormal again."""
        weight = layer.get_parameter(name)
        weight.copy_(retracted(weight))


@PARAMETRIZATIONS.register("orthogonal")
class Orthogonal(_Orthonormal):
    """Torch's `parametrizations.orthogonal`: gradients flow through Householder reflectors.

    30 to 600 times slower than a plain weight on wide layers, by its map and the width. As used
    here a train step of 64 rows took 25 ms against 0.31 at 96 x 384 (81 times) and 581 against
    0.96 at 256 x 1024 (600 times), one CPU thread. Prefer `qr`. Note [Householder without
    a base] says how it is used.
    """

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Parametrization.check`.

        Raises:
            ConfigInvalid: not a matrix.
        """
        _check_matrix(shape, "orthogonal", pointer=pointer)

    def attach(self, layer: nn.Module, name: str) -> None:
        """Put torch's parametrization on the weight, which becomes orthonormal by a QR."""
        torch_parametrizations.orthogonal(
            layer, name, orthogonal_map="householder", use_trivialization=False
        )
        raw = chain_of(layer, name).original
        # Other strides sum in another order; state read back from disk is contiguous.
        raw.data = raw.data.contiguous()

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Put the raw diagonal back to ±1, where it is finite (torch says that NaN has sign 0)."""
        diagonal = chain_of(layer, name).original.diagonal()
        diagonal.copy_(torch.where(diagonal.isfinite(), diagonal.sign(), diagonal))


# Note [Householder without a base]
# Torch's default completes a wide weight to a square `base` with numbers from the global generator
# each time one is assigned, and keeps it as a buffer of input_size²: not reproducible, not small.
# The Householder map without it is exact, and a function of the weight alone. Its price: the
# diagonal of the raw weight holds signs that forward truncates to integers, so that a decay of
# 1 to 0.999 would silently turn a row into zeros; hence `retract_`.


def _check_matrix(shape: tuple[int, ...], kind: str, *, pointer: str) -> None:
    if len(shape) != 2:
        raise ConfigInvalid(
            f"parametrization {kind!r} expects a weight of 2 dimensions, got {len(shape)}",
            pointer=pointer,
        )
