"""The reduction layer: one trained matrix."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.config import MAX_WIDTH
from app.layers.initialisers import drawn, read_initialiser
from app.layers.parametrizations import assign_, attach, read_parametrization, retract_

# A registered name, or an object with it as `type` and its arguments beside.
Named: TypeAlias = str | dict[str, Any]


class QRReduction(nn.Module):
    """Makes hidden states smaller with a trained matrix.

    `reduced = hidden_states @ Q_reducedᵀ + bias`

    The projection is a parameter like any other: it does not depend on the input, and it learns.
    Its name says how it starts (QR of a random matrix) and what it can keep (orthonormal rows).

    Args:
        n_components: width of the output.
        input_size: width of hidden_states.
        bias: whether to add a trained vector, zeros at first.
        init: where Q_reduced starts: a name in `INITIALISERS`, or an object with its arguments.
        parametrization: what Q_reduced keeps in training; the same of `PARAMETRIZATIONS`.
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
    init: Named
    parametrization: Named

    def __init__(
        self,
        n_components: Annotated[int, range(1, MAX_WIDTH + 1)],
        input_size: Annotated[int, range(1, MAX_WIDTH + 1)],
        bias: bool = False,
        init: Named = "orthogonal",
        parametrization: Named = "none",
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._allocate(n_components, input_size, bias=bias)
        self.begin(init, parametrization, generator=generator)
        self.to(device=device, dtype=dtype)

    @classmethod
    def bare(cls, n_components: int, input_size: int, *, bias: bool = False) -> Self:
        """A layer whose weights are not drawn, and constrained by nothing: others give them.

        Made for every published version inside a stack, so it takes no random numbers.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._allocate(n_components, input_size, bias=bias)
        return layer

    def begin(
        self,
        init: Named,
        parametrization: Named,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Draw the initial weights of a bare layer, and constrain them.

        Raises:
            ConfigInvalid: an unknown init or parametrization, or one that these widths do not
                allow.
        """
        constraint = read_parametrization(parametrization, pointer="/parametrization")
        constraint.check((self.n_components, self.input_size), pointer="/parametrization")
        self.init, self.parametrization = init, parametrization
        self.Q_reduced = nn.Parameter(self._initial(generator))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        attach(self, "Q_reduced", constraint)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Reduce: `hidden_states @ Q_reducedᵀ + bias`, in one fused call."""
        return F.linear(hidden_states, self.Q_reduced, self.bias)

    def reconstruct(self, reduced: Tensor) -> Tensor:
        """Map back: `(reduced - bias) @ Q_reduced`; the best one when its rows are orthonormal.

        Shape: reduced `(…, n_components)`; returns `(…, input_size)`.
        """
        return (reduced if self.bias is None else reduced - self.bias) @ self.Q_reduced

    def reset_parameters(self, *, generator: torch.Generator | None = None) -> None:
        """Start again from the init, in place."""
        assign_(self, "Q_reduced", self._initial(generator))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.retract_()

    def retract_(self) -> None:
        """Bring the weight back to its parametrization; called after each accepted step."""
        retract_(self)

    def extra_repr(self) -> str:
        """What `repr` prints between the brackets."""
        return (
            f"input_size={self.input_size}, n_components={self.n_components}, "
            f"bias={self.bias is not None}, parametrization={self.parametrization}"
        )

    def _allocate(self, n_components: int, input_size: int, *, bias: bool) -> None:
        self.n_components = _width("n_components", n_components)
        self.input_size = _width("input_size", input_size)
        self.init = self.parametrization = "none"
        self.Q_reduced = nn.Parameter(torch.empty(n_components, input_size))
        self.register_parameter("bias", nn.Parameter(torch.empty(n_components)) if bias else None)

    def _initial(self, generator: torch.Generator | None) -> Tensor:
        init = read_initialiser(self.init, pointer="/init")
        shape = (self.n_components, self.input_size)
        init.check(shape, pointer="/init")
        return drawn(init, shape, generator)


def _width(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"expected {name} to be an integer of at least 1, got {value!r}")
    return value
