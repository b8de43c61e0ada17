"""Tiling: how many rows a product has, so that the bits of a row depend on nothing else.

Note [Equal bits]
A kernel is chosen by the number of rows, and another kernel sums in another order: alone and in a
batch, every row has other last bits. Where only certain heights occur, and every one of them gives
a row the same bits at every place, a row depends on nothing but itself. torch promises none of
this, so each candidate is tried on the layer itself, on its device and in its dtype: all of its
heights, with the rows in another order each time. Where memory begins matters, too: products of a
tiling get their rows at one alignment. The last candidate needs no trial: one row is always the
same product.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.config import ModelConfig
from app.layers import declared_once, input_shape, is_lone_reduction, output_shape, product

log = logging.getLogger("slimvec.engine")

_SEED = 20_261_122


@dataclass(frozen=True, slots=True)
class Tiling:
    """The heights that a product may have: every multiple of `unit` from `least` to `most`.

    Attributes:
        name: for the log.
        unit: what the number of rows is rounded up to.
        least: fewest rows.
        most: most rows; more are cut into products of so many.
        alignment: what the address of the rows is a multiple of.
    """

    name: str
    unit: int
    least: int
    most: int
    alignment: int = 64

    @property
    def heights(self) -> range:
        """Every height that occurs."""
        return range(self.least, self.most + 1, self.unit)

    def height(self, rows: int) -> int:
        """How high the product of so many rows is, at most `most` of them."""
        return max(self.least, -(-rows // self.unit) * self.unit)

    def cuts(self, rows: int) -> Iterator[slice]:
        """So many rows in pieces of at most `most`."""
        return (slice(begin, begin + self.most) for begin in range(0, rows, self.most))


# Measured: an address that is not a multiple of 16 sums in another order, so the same vectors would
# have other last bits in a format whose header ends elsewhere.
FREE = Tiling("as many rows as there are", unit=1, least=1, most=1 << 62, alignment=16)

# Each row alone: what must hold whatever the layers are.
BY_ROW = Tiling("made row by row", unit=1, least=1, most=1)

# Measured: the first holds for nearly every shape and costs least; odd widths with a handful of
# components need the last one.
CANDIDATES = (
    Tiling("padded to multiples of 8 rows, at least 16", unit=8, least=16, most=256),
    Tiling("cut into tiles of 64 rows", unit=64, least=64, most=64),
    BY_ROW,
)

# 64 MiB in float32: what the layers hold of the rows of one product, at each of their outputs.
_NUMBERS_HELD = 16 << 20


def numbers_held(a_row: int) -> int:
    """How many rows a product may have whose layers hold so many numbers of each."""
    return max(1, _NUMBERS_HELD // max(1, a_row))


def choose_tiling(multiply: Callable[[Tensor], Tensor], input_size: int) -> Tiling:
    """The first candidate under which rows keep their bits; see Note [Equal bits].

    Args:
        multiply: the product, host memory in and out.
        input_size: width of its rows.
    """
    for tiling in CANDIDATES[:-1]:
        if keeps_bits(tiling, multiply, input_size):
            return tiling
    return CANDIDATES[-1]


def keeps_bits(tiling: Tiling, multiply: Callable[[Tensor], Tensor], input_size: int) -> bool:
    """Whether rows have the same bits at every height, and wherever they were put."""
    generator = torch.Generator().manual_seed(_SEED)
    rows = torch.randn(tiling.most, input_size, generator=generator)
    expected = torch.cat([multiply(tile.clone()) for tile in torch.split(rows, tiling.least)])
    for height in tiling.heights:
        order = torch.randperm(tiling.most, generator=generator)[:height]
        if not torch.equal(multiply(rows[order]), expected[order]):
            return False
    return True


class Tilings:
    """The tiling of each shape of layers; what is tried once is known from then on.

    Args:
        is_deterministic: whether rows are to keep their bits.
        device: where layers are.
        dtype: what they compute in.
    """

    def __init__(self, is_deterministic: bool, device: torch.device, dtype: torch.dtype) -> None:
        self._is_deterministic = is_deterministic
        self._device = device
        self._dtype = dtype
        self._known: dict[Hashable, Tiling] = {}

    def of(self, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Tiling:
        """How the products of these layers are tiled.

        Args:
            config: what the layers are.
            tensors: their folded serving tensors.
        """
        if not self._is_deterministic:
            return FREE if is_lone_reduction(config) else _in_pieces(config)
        if not are_vectors(config):
            return BY_ROW
        shapes = frozenset((name, tensor.shape) for name, tensor in tensors.items())
        # A reduction is its shape; other layers of one shape may compute other things.
        layers = None if is_lone_reduction(config) else repr(config.layers)
        if (known := self._known.get((shapes, layers))) is None:
            known = self._known[shapes, layers] = self._try(config, tensors)
        return known

    def _try(self, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Tiling:
        cast = {name: self._cast(tensor) for name, tensor in tensors.items()}
        reduce = product(config, cast)

        def multiply(rows: Tensor) -> Tensor:
            return reduce(rows.to(self._device, self._dtype)).cpu()

        chosen = choose_tiling(multiply, config.input_size)
        n_components = output_shape(config)[-1]
        shape = f"{n_components} x {config.input_size}"
        log.info("deterministic: products with %s weights are %s", shape, chosen.name)
        return chosen

    def _cast(self, tensor: Tensor) -> Tensor:
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self._device, dtype)


def are_vectors(config: ModelConfig) -> bool:
    """Whether rows are vectors of numbers, and so is what is made of them."""
    shape, declared = input_shape(config), declared_once(config)
    return len(shape) == len(declared.output) == 1 and None not in shape and not declared.takes_ids


def _in_pieces(config: ModelConfig) -> Tiling:
    most = numbers_held(declared_once(config).widest)
    return Tiling(f"of at most {most} rows", unit=1, least=1, most=most, alignment=16)
