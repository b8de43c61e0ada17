"""The reduction layer: one trained matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.config import MAX_WIDTH
from app.layers.initialisers import INITIALISERS, Draw
from app.layers.parametrizations import PARAMETRIZATIONS, assign_


class QRReduction(nn.Module):
    """Makes hidden states smaller with a trained matrix.

    `reduced = hidden_states @ Q_reducedᵀ + bias`

    The projection is a parameter like any other: it does not depend on the input, and it learns.
    Its name says how it starts (QR of a random matrix) and what it can keep (orthonormal rows).

    Args:
        n_components: width of the output.
        input_size: width of hidden_states.
        bias: whether to add a trained vector, zeros at first.
        init: where Q_reduced starts; a name in `INITIALISERS`.
        parametrization: what Q_reduced keeps in training; a name in `PARAMETRIZATIONS`.
        sample: hidden states `(rows, input_size)`, for an init that starts from data.
        generator: source of the initial weights; a seeded one fixes them.
        device: where the parameters live. They are drawn on the generator's device, so that they
            are the same everywhere.
        dtype: of the parameters.

    Shape: hidden_states `(…, input_size)`; returns `(…, n_components)`; any leading dimensions.

    Attributes:
        Q_reduced: the trained matrix `(n_components, input_size)`.
        bias: `(n_components,)`, or None.

    Raises:
        ValueError: a width that is not a positive integer.
        ConfigInvalid: an unknown init or parametrization, or one that these widths do not allow.

    Example:
        >>> layer = QRReduction(2, 4)
        >>> layer(torch.ones(3, 5, 4)).shape
        torch.Size([3, 5, 2])
    """

    Q_reduced: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        n_components: Annotated[int, range(1, MAX_WIDTH + 1)],
        input_size: Annotated[int, range(1, MAX_WIDTH + 1)],
        bias: bool = False,
        init: str = "orthogonal",
        parametrization: str = "none",
        *,
        sample: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.n_components = _width("n_components", n_components)
        self.input_size = _width("input_size", input_size)
        self.init = init
        self.parametrization = parametrization
        constraint = PARAMETRIZATIONS.choose(parametrization, pointer="/parametrization")()
        constraint.check(n_components, input_size)
        self._constraint = constraint
        self.Q_reduced = nn.Parameter(self._initial(sample, generator))
        self.register_parameter("bias", nn.Parameter(torch.zeros(n_components)) if bias else None)
        constraint.attach(self, "Q_reduced")
        self.to(device=device, dtype=dtype)

    @classmethod
    def holding(cls, tensors: Mapping[str, Tensor]) -> Self:
        """An inference-only layer around these very tensors, unconstrained and without gradients.

        Made for every published version, so it goes around `__init__` and its random numbers.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.n_components, layer.input_size = tensors["Q_reduced"].shape
        layer.init = layer.parametrization = "none"
        layer._constraint = PARAMETRIZATIONS["none"]()
        for name in ("Q_reduced", "bias"):
            tensor = tensors.get(name)
            held = None if tensor is None else nn.Parameter(tensor, requires_grad=False)
            layer.register_parameter(name, held)
        layer.training = False
        return layer

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Reduce: `hidden_states @ Q_reducedᵀ + bias`, in one fused call."""
        return F.linear(hidden_states, self.Q_reduced, self.bias)

    def bound(self) -> Callable[[Tensor], Tensor]:
        """`forward` with the tensors of now: a module looks its own up at every call.

        For a layer whose tensors are never set again; of one row, looking costs a fifth.
        """
        return partial(F.linear, weight=self.Q_reduced, bias=self.bias)

    def reconstruct(self, reduced: Tensor) -> Tensor:
        """Map back: `(reduced - bias) @ Q_reduced`; the best one when its rows are orthonormal.

        Shape: reduced `(…, n_components)`; returns `(…, input_size)`.
        """
        return (reduced if self.bias is None else reduced - self.bias) @ self.Q_reduced

    def reset_parameters(
        self, *, sample: Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start again from the init, in place."""
        assign_(self, "Q_reduced", self._initial(sample, generator))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.retract_()

    def retract_(self) -> None:
        """Bring the weight back to its parametrization; called after each accepted step."""
        self._constraint.retract_(self, "Q_reduced")

    def extra_repr(self) -> str:
        """What `repr` prints between the brackets."""
        return (
            f"input_size={self.input_size}, n_components={self.n_components}, "
            f"bias={self.bias is not None}, parametrization={self.parametrization}"
        )

    def _initial(self, sample: Tensor | None, generator: torch.Generator | None) -> Tensor:
        initialise = INITIALISERS.choose(self.init, pointer="/init")
        return initialise(
            Draw(
                n_components=self.n_components,
                input_size=self.input_size,
                sample=sample,
                generator=generator,
            )
        )


def _width(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"expected {name} to be an integer of at least 1, got {value!r}")
    return value
