"""Many rows that change a few at a time: immutable, in blocks that share what did not change.

# Note [Blocks]
A reservoir of 4,096 x 384 is 6.3 MB, and a step replaces a dozen rows of it. Neither a copy nor a
digest of the whole belongs in a step. So rows stand in blocks of `BLOCK_ROWS`; a change copies the
blocks that it touches, each block knows its digest, and an undo is a reference to the rows before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.codecs import BLOCK_ROWS, block_digest, blocked_digest

# Numpy's names of the dtypes, as a digest has them.
_LITTLE_ENDIAN = {torch.float32: "<f4", torch.float64: "<f8"}


class Block:
    """A few rows that nobody writes to, and their digest once it was asked for.

    Attributes:
        rows: on the CPU, in memory of their own or of other blocks that live as long.
    """

    __slots__ = ("_digest", "rows")

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """The digest of the values."""
        if self._digest is None:
            self._digest = block_digest(self.rows.numpy())
        return self._digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one width on the CPU, immutable; see Note [Blocks].

    Attributes:
        width: of each row.
        dtype: of the values.
        blocks: of `BLOCK_ROWS` rows, the last one of as many or fewer.
    """

    width: int
    dtype: torch.dtype = torch.float32
    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(cls, rows: Tensor) -> Rows:
        """These very rows, which nobody writes to from now on.

        Shape: rows (count, width).
        """
        blocks = tuple(map(Block, torch.split(rows, BLOCK_ROWS))) if len(rows) else ()
        return cls(width=rows.shape[1], dtype=rows.dtype, blocks=blocks)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return (len(self.blocks) - 1) * BLOCK_ROWS + len(self.blocks[-1].rows) if self.blocks else 0

    def appended(self, rows: Tensor) -> Rows:
        """With copies of more rows behind these."""
        if not len(rows):
            return self
        whole = self.count // BLOCK_ROWS
        rest = [block.rows for block in self.blocks[whole:]]
        added = torch.cat([*rest, rows.to(self.dtype)])
        # A block that is a view would keep the whole batch in memory for as long as it lives.
        blocks = (Block(part.clone()) for part in torch.split(added, BLOCK_ROWS))
        return Rows(width=self.width, dtype=self.dtype, blocks=(*self.blocks[:whole], *blocks))

    def replaced(self, rows: Mapping[int, Tensor]) -> Rows:
        """With other rows at these positions."""
        by_block: dict[int, dict[int, Tensor]] = defaultdict(dict)
        for position, row in rows.items():
            by_block[position // BLOCK_ROWS][position % BLOCK_ROWS] = row
        blocks = list(self.blocks)
        for index, changes in by_block.items():
            copied = blocks[index].rows.clone()
            copied[list(changes)] = torch.stack(list(changes.values())).to(self.dtype)
            blocks[index] = Block(copied)
        return Rows(width=self.width, dtype=self.dtype, blocks=tuple(blocks))

    def tensor(self) -> Tensor:
        """All of them, copied into one tensor (count, width)."""
        if not self.blocks:
            return torch.empty(0, self.width, dtype=self.dtype)
        return torch.cat([block.rows for block in self.blocks])

    def digest(self) -> bytes:
        """The digest of the rows as one array, from those of the blocks."""
        shape, blocks = (self.count, self.width), [block.digest for block in self.blocks]
        return blocked_digest(_LITTLE_ENDIAN[self.dtype], shape, blocks)
