"""A weight most of whose entries are held at zero."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from app.errors import ConfigInvalid
from app.layers.parametrizations.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    broken,
    chain_of,
)
from app.wording import offered


@PARAMETRIZATIONS.register("sparse")
class Sparse(Parametrization):
    """`W = M ∘ V` with a mask M of zeros and ones: where it is 0, the weight is exactly 0.

    The mask multiplies in every forward, so no momentum, decay or moment of any optimizer can
    revive an entry; the raw entries are put back to zero after each step, too. The mask is a
    buffer: in checkpoint and digest.

    `mask` is `random` (drawn from `seed`), `magnitude` (the largest entries of the weight as it
    starts, and anew whenever weights are fitted or given), or the nested list of zeros and ones
    itself. `density` is the share of ones, rounded to at least one entry.
    """

    density: Annotated[float, Field(gt=0, le=1)] | None = None
    mask: Literal["random", "magnitude"] | list[Any] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Parametrization.check`.

        Raises:
            ConfigInvalid: density and mask do not go together, or the mask does not fit.
        """
        is_given = isinstance(self.mask, list)
        if is_given == (self.density is not None):
            got = "a given mask and a density" if is_given else "no density"
            raise ConfigInvalid(
                "expected a density with a random or magnitude mask, and none with a given one; "
                f"got {got}",
                pointer=f"{pointer}/density",
            )
        if is_given:
            _given_mask(self.mask, shape, pointer=f"{pointer}/mask")

    def attach(self, layer: nn.Module, name: str) -> None:
        """Put the mask on the weight."""
        weight = layer.get_parameter(name)
        mask = self._first_mask(weight).to(weight.device)
        register_parametrization(layer, name, _Masked(mask))
        self.retract_(layer, name)

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Zero what an optimizer put where the mask is zero, but never what is not finite."""
        raw, mask = chain_of(layer, name).original, _mask(layer, name)
        raw.masked_fill_(~mask & raw.isfinite(), 0)

    def assign_(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.assign_`; a mask by magnitude is that of the new weights."""
        if self.mask == "magnitude":
            _mask(layer, name).copy_(_largest(value, self._count(value)))
        chain_of(layer, name).original.copy_(value * _mask(layer, name))

    def check_given(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.check_given`."""
        if self.mask == "magnitude":
            return
        outside = int(value.to(_mask(layer, name).device)[~_mask(layer, name)].count_nonzero())
        if outside:
            promise = f"zeros of {name} where its mask is zero"
            raise broken(promise, f"{outside} other entries there")

    def _first_mask(self, weight: Tensor) -> Tensor:
        if isinstance(self.mask, list):
            return _given_mask(self.mask, tuple(weight.shape), pointer="/mask")
        if self.mask == "magnitude":
            return _largest(weight.detach(), self._count(weight))
        # Not the model's seed: a folder of plain weights alone must find its mask again.
        order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(self.seed))
        return _ones_at(order[: self._count(weight)], weight.shape)

    def _count(self, weight: Tensor) -> int:
        assert self.density is not None, "checked: only a given mask has none"
        return max(1, round(self.density * weight.numel()))


class _Masked(nn.Module):
    """Torch's side of it: the mask as a buffer."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, with zeros where the mask is zero; what is not finite stays visible."""
        return weight * self.mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A raw weight for this one."""
        return weight


def _mask(layer: nn.Module, name: str) -> Tensor:
    return cast(_Masked, chain_of(layer, name)[0]).mask


def _largest(weight: Tensor, count: int) -> Tensor:
    """Ones at the entries of largest magnitude; of equal ones the first."""
    order = weight.abs().flatten().sort(descending=True, stable=True).indices
    return _ones_at(order[:count], weight.shape)


def _ones_at(positions: Tensor, shape: torch.Size) -> Tensor:
    mask = torch.zeros(shape.numel(), dtype=torch.bool, device=positions.device)
    mask[positions] = True
    return mask.view(shape)


def _given_mask(mask: object, shape: tuple[int, ...], *, pointer: str) -> Tensor:
    wanted = f"expected a mask of zeros and ones of the weight's shape {list(shape)}"
    try:
        values = torch.tensor(mask, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        fault = "arrays that are not of one length, or hold something else than numbers"
        raise ConfigInvalid(f"{wanted}, got {fault}", pointer=pointer) from None
    if tuple(values.shape) != shape:
        raise ConfigInvalid(f"{wanted}, got shape {list(values.shape)}", pointer=pointer)
    if others := ((values != 0) & (values != 1)).nonzero().tolist():
        place = "".join(f"/{index}" for index in others[0])
        number = offered(values[tuple(others[0])].item())
        raise ConfigInvalid(f"{wanted}, got {number}", pointer=f"{pointer}{place}")
    return values.bool()
