"""Initialisers: where the weights of a layer start, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.orthonormal import sign_fixed_qr
from app.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What an initialiser may use.

    Attributes:
        n_components: rows of the weight.
        input_size: columns of the weight.
        sample: hidden states `(rows, input_size)`, for initialisers that start from data.
        generator: source of all randomness; `None` is torch's global one, on the CPU.
    """

    n_components: int
    input_size: int
    sample: Tensor | None = None
    generator: torch.Generator | None = None

    def empty(self) -> Tensor:
        """A weight yet to be filled, on the generator's device."""
        device = "cpu" if self.generator is None else self.generator.device
        return torch.empty(self.n_components, self.input_size, device=device)

    def gaussian(self) -> Tensor:
        """Independent standard normal entries."""
        return self.empty().normal_(generator=self.generator)


Initialiser: TypeAlias = Callable[[Draw], Tensor]
INITIALISERS: Registry[Initialiser] = Registry("initialiser")


@INITIALISERS.register("normal")
def normal(draw: Draw) -> Tensor:
    """Independent standard normal entries, as `torch.randn`."""
    return draw.gaussian()


@INITIALISERS.register("orthogonal")
def orthogonal(draw: Draw) -> Tensor:
    """Uniformly random orthonormal rows (columns, where the layer widens).

    The sign-fixed QR of a Gaussian matrix; without the sign fix the distribution depends on the
    LAPACK. `max |Q Qᵀ - I|` is below 1e-6 (float32 rounding of the Householder products).
    """
    return sign_fixed_qr(draw.gaussian())


@INITIALISERS.register("kaiming_uniform")
def kaiming_uniform(draw: Draw) -> Tensor:
    """Uniform on ±√(6 / input_size): `torch.nn.init.kaiming_uniform_` with its defaults."""
    return nn.init.kaiming_uniform_(draw.empty(), generator=draw.generator)


@INITIALISERS.register("xavier_uniform")
def xavier_uniform(draw: Draw) -> Tensor:
    """Uniform on ±√(6 / (input_size + n_components)): `torch.nn.init.xavier_uniform_`."""
    return nn.init.xavier_uniform_(draw.empty(), generator=draw.generator)


@INITIALISERS.register("pca")
def pca(draw: Draw) -> Tensor:
    """Leading eigenvectors of the uncentred second moment of a sample.

    `C = Xᵀ X / rows` in float64; row i of the weight is the eigenvector of the i-th largest
    eigenvalue, with its largest entry positive. Uncentred, because subtracting the mean changes
    which vectors are neighbours by cosine.

    Raises:
        ConfigInvalid: no sample, too few rows, another width, not finite, or a layer that widens.
    """
    sample = _checked_sample(draw).detach().to(torch.float64)
    _, vectors = torch.linalg.eigh(sample.mT @ sample / sample.shape[0])
    leading = vectors.mT.flip(0)[: draw.n_components]
    largest = leading.gather(1, leading.abs().argmax(dim=1, keepdim=True))
    signed: Tensor = leading * torch.where(largest < 0, -1, 1)
    return signed.to(torch.get_default_dtype()).contiguous()


def _checked_sample(draw: Draw) -> Tensor:
    sample, rows = draw.sample, draw.n_components
    if rows > draw.input_size:
        fault = f"n_components is {rows}; choose at most {draw.input_size} or another init"
    elif sample is None:
        fault = "got none; give a sample or choose another init"
    elif sample.ndim != 2 or sample.shape[0] < rows or sample.shape[1] != draw.input_size:
        fault = f"got one of shape {list(sample.shape)}"
    elif not torch.isfinite(sample).all():
        fault = "got NaN or infinity in it"
    else:
        return sample
    raise ConfigInvalid(
        f"init 'pca' expects a finite sample of hidden_states of shape "
        f"[at least {rows}, {draw.input_size}]; {fault}",
        pointer="/init",
    )
