"""Drift: whether the newest vectors lie where the map looks, as those before them did."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

# How many vectors the two means look back.
_NEWEST = 1024
_AVERAGE = 16_384


class Drift(BaseModel):
    """Two running means of the share of energy that the map captures of each batch.

    `share(x) = ‖P x‖² / ‖x‖²`, P the projector on the row space of the map of that moment.

    Attributes:
        newest: over about the newest `_NEWEST` vectors.
        average: over about `_AVERAGE`.
        count: vectors so far.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    newest: float = Field(default=0.0, ge=0)
    average: float = Field(default=0.0, ge=0)
    count: int = Field(default=0, ge=0)

    def following(self, share: float, vectors: int) -> Self:
        """After a batch of so many vectors of which the map captured this share.

        >>> Drift().following(0.5, 100).following(1.0, 100).average
        0.75
        """
        count = self.count + vectors
        return type(self)(
            newest=self.newest + (share - self.newest) * _weight(vectors, count, _NEWEST),
            average=self.average + (share - self.average) * _weight(vectors, count, _AVERAGE),
            count=count,
        )

    @property
    def figure(self) -> float | None:
        """`1 - newest / average`: 0 when nothing changed, 0.1 when a tenth is captured no more."""
        return 1 - self.newest / self.average if self.average > 0 else None


def _weight(vectors: int, count: int, horizon: int) -> float:
    """Of a batch in a mean that is of everything at first, later exponential."""
    return min(1.0, vectors / min(count, horizon))
