"""Layers that look vectors up: rows of whole numbers, ids from 0 to num_embeddings - 1.

`max_norm` is not for configs: torch would change the weights while they are read. Nor is `sparse`:
guards and most optimizers take dense gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

from torch import Tensor, nn

from app.errors import ConfigInvalid, Unacceptable
from app.layers.arguments import WIDTHS, check_arguments
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Shape
from app.layers.masks import tokens_that_count
from app.layers.widths import check_rank

# Ids come as float32, which holds every whole number up to here.
_MOST = 1 << 24

_Count: TypeAlias = Annotated[int, range(1, _MOST + 1)]
_Width: TypeAlias = Annotated[int, WIDTHS]


class Embedding(nn.Embedding):
    """Torch's, for ids that come as floats.

    Shape: rows (rows, …) of whole numbers; returns (rows, …, embedding_dim).
    """

    def __init__(
        self,
        num_embeddings: _Count,
        embedding_dim: _Width,
        padding_idx: int | None = None,
        scale_grad_by_freq: bool = False,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx=padding_idx,
            scale_grad_by_freq=scale_grad_by_freq,
        )

    def forward(self, rows: Tensor) -> Tensor:
        """The vector of every id."""
        return super().forward(_ids(rows, self.num_embeddings))


class EmbeddingBag(nn.EmbeddingBag):
    """Torch's, for ids that come as floats; with a mask, of those that count.

    Shape: rows (rows, length) of whole numbers; returns (rows, embedding_dim).
    """

    def __init__(
        self,
        num_embeddings: _Count,
        embedding_dim: _Width,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "max"] = "mean",
        padding_idx: int | None = None,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            padding_idx=padding_idx,
        )

    def forward(  # type: ignore[override]  # what torch says in offsets, the context says
        self, rows: Tensor, context: Context = NO_CONTEXT
    ) -> Tensor:
        """The sum, mean or maximum of the vectors of each row's ids."""
        mask = tokens_that_count(rows, context)
        if mask is None:
            return super().forward(_ids(rows, self.num_embeddings))
        counts = mask.sum(dim=1)
        return super().forward(_ids(rows[mask], self.num_embeddings), counts.cumsum(0) - counts)


class Lookup:
    """A layer that looks up.

    Args:
        layer: the class.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: type[Embedding | EmbeddingBag], doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        is_bag = self._layer is EmbeddingBag
        if is_bag:
            check_rank(shape, (1,), "EmbeddingBag", pointer=pointer)
        arguments = check_arguments(
            self._layer, arguments, pointer=pointer, bounds={"padding_idx": range(-_MOST, _MOST)}
        )
        _check(arguments, pointer)
        return Declared(
            make=partial(self._layer, **arguments),
            output=(*(() if is_bag else shape), arguments["embedding_dim"]),
            takes_context=is_bag,
            uses_mask=is_bag,
            takes_ids=True,
        )


def _check(arguments: Mapping[str, Any], pointer: str) -> None:
    count, padding_idx = arguments["num_embeddings"], arguments.get("padding_idx") or 0
    if not -count <= padding_idx < count:
        raise ConfigInvalid(
            f"expected padding_idx from {-count} to {count - 1}, a place among the "
            f"{count} embeddings, got {padding_idx}",
            pointer=f"{pointer}/padding_idx",
        )
    if arguments.get("mode") == "max" and arguments.get("scale_grad_by_freq"):
        raise ConfigInvalid(
            'expected mode "sum" or "mean" with scale_grad_by_freq, got "max"; leave one out',
            pointer=f"{pointer}/scale_grad_by_freq",
        )


def _ids(rows: Tensor, count: int) -> Tensor:
    """The same numbers as integers.

    Raises:
        Unacceptable: `out_of_range`: one is not whole, or stands for no vector.
    """
    ids = rows.long()
    if not bool(((ids == rows) & (ids >= 0) & (ids < count)).all()):
        raise Unacceptable(
            "out_of_range",
            f"expected ids: whole numbers from 0 to {count - 1}, got {_fault(rows, count)}; send "
            "the ids that the embedding was made for",
            pointer="/hidden_states",
        )
    return ids


def _fault(rows: Tensor, count: int) -> str:
    """Which kind of number is none; where it stands, a piece of a batch cannot say."""
    if bool((rows != rows.trunc()).any()):
        return "a number that is not whole"
    return "a negative one" if bool((rows < 0).any()) else f"one above {count - 1}"


KINDS.register("Embedding")(
    Lookup(Embedding, "The trained vector of each id; a row is whole numbers, of any shape.")
)
KINDS.register("EmbeddingBag")(
    Lookup(EmbeddingBag, "Sum, mean or maximum of the trained vectors of a row's ids (length).")
)
