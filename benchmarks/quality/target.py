"""A target, what was found, and the checks that find it, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from app.registry import Registry
from benchmarks.quality.goals import COMPONENTS
from benchmarks.quality.splits import Splits

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "minilm-384-to-96" / "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One target and the worst that was found.

    Attributes:
        what: the target in words.
        goal: the number to reach.
        found: the worst of all seeds.
        is_most: whether the goal is not to be passed, instead of to be reached.
    """

    what: str
    goal: float
    found: float
    is_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it was reached; what is no number was not."""
        return self.found <= self.goal if self.is_most else self.found >= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """Targets that the data cannot show to be met or missed.

    Attributes:
        what: the targets in words.
        needs: what the data would have to have.
    """

    what: str
    needs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Metrics that are told beside the targets: one line of a table.

    Attributes:
        table: which table of its check.
        of: what was measured.
        numbers: of a vector then.
        values: the metrics; of several seeds the worst of each.
    """

    table: str
    of: str
    numbers: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a check works on.

    Attributes:
        splits: the data.
        seeds: of random starts and orders; the worst counts.
        components: numbers of components, those that the data is wide enough for.
        other: data of another kind for a shift; without it, the labels of `splits` make one.
        model: the version folder that is measured as the demo model.
    """

    splits: Splits
    seeds: Sequence[int] = (0, 1, 2)
    components: Sequence[int] = COMPONENTS
    other: Splits | None = None
    model: Path = SHIPPED

    def too_narrow(self, k: int) -> NotMeasured | None:
        """What to report instead of targets at `k` components; None when vectors are wider."""
        if k < self.splits.width:
            return None
        return NotMeasured(what=f"k={k}", needs=f"vectors wider than {k}")

    def worst_of(self, found: Iterable[Mapping[str, float]], name: str) -> float:
        """The least of one figure; NaN when one is."""
        return self.worst(figures[name] for figures in found)

    def worst_of_all(self, found: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The least of every figure."""
        return {name: self.worst_of(found, name) for name in found[0]}

    def worst(self, values: Iterable[float]) -> float:
        """The least; NaN when one is."""
        found = list(values)
        return min(found) if all(value == value for value in found) else float("nan")


Entry: TypeAlias = Finding | NotMeasured | Figures
Check: TypeAlias = Callable[[Bench], Iterator[Entry]]
CHECKS: Registry[Check] = Registry("check")
