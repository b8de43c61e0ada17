"""What the gate remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What one version multiplies with; nobody writes to it."""

    version: int
    step: int
    tensors: Mapping[str, Tensor]


class Figure(BaseModel):
    """One measure of the judged version, held against the one that passed before it.

    Attributes:
        judged: of the judged version.
        passed: of the other one; None where there was none.
        doubt: twice the standard error of their difference: less of a fall than that is chance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    judged: float
    passed: float | None = None
    doubt: float = 0.0

    @classmethod
    def of(cls, judged: Tensor, passed: Tensor | None) -> Self:
        """The means over queries, the same ones for both.

        Shape: judged, passed (queries,), float64.
        """
        if passed is None:
            return cls(judged=float(judged.mean()))
        error = float((judged - passed).std()) / math.sqrt(len(judged))
        return cls(judged=float(judged.mean()), passed=float(passed.mean()), doubt=2 * error)

    def is_doubtful(self, bound: float) -> bool:
        """Whether it fell by more than the bound and by less than chance may."""
        return bound < self.fall <= self.doubt

    @property
    def fall(self) -> float:
        """How much worse the judged version is; below 0 when it is better."""
        return 0.0 if self.passed is None else self.passed - self.judged


class Judgement(BaseModel):
    """What one look found.

    Attributes:
        version: that was judged.
        rows: vectors held out then.
        nn10, mrr: None where too few vectors, or pairs, were held out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(ge=1)
    rows: int = Field(ge=0)
    nn10: Figure | None = None
    mrr: Figure | None = None

    def is_doubtful(self, bound: float) -> bool:
        """Whether more queries might find what these leave to chance."""
        figures = (self.nn10, self.mrr)
        return any(figure is not None and figure.is_doubtful(bound) for figure in figures)

    def faults(self, bound: float, pair_weight: float) -> list[str]:
        """By what the judged version is worse, in words.

        That is a fall by more than the bound, and by more than chance. What the pair loss wins it
        may cost: `pair_weight` times the rise of mrr is taken off the fall of nn10.
        """
        paid = 0.0 if self.mrr is None else pair_weight * max(0.0, -self.mrr.fall)
        figures = (("nn10", self.nn10, paid), ("mrr", self.mrr, 0.0))
        return [
            f"{name} fell from {figure.passed:.4f} to {figure.judged:.4f}, by more than the bound "
            f"{bound:g} and than chance ({figure.doubt:.4f})"
            for name, figure, paid_for in figures
            if figure is not None and figure.fall - paid_for > max(bound, figure.doubt)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class GateState:
    """What the gate remembers; immutable, so that an undo is a reference.

    Attributes:
        is_open: whether `live` may follow the newest version.
        passed: the last version that passed a look, or that an operator chose.
        judgement: what the last look found.
        steps: accepted ones since that look.
    """

    is_open: bool = True
    passed: Weights | None = None
    judgement: Judgement | None = None
    steps: int = 0
