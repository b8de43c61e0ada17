"""What is measured against Slimvec itself, as a table: ways of doing one thing, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.contenders import OURS, VOLATILE
from benchmarks.rounds import Sample

ROWS = 32


@dataclass(frozen=True, slots=True)
class Posts:
    """Train steps over HTTP, each in a request of its own."""

    server: str
    connections: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Train steps as the frames of one stream that never pauses."""

    server: str


@dataclass(frozen=True, slots=True)
class Reads:
    """Reduces over one connection, of a model that may be trained meanwhile.

    Attributes:
        rows: of each request.
        trained: the server whose model of the same name is trained at full speed; empty: none.
    """

    rows: int
    trained: str = ""


@dataclass(frozen=True, slots=True)
class Bursts:
    """Train steps without HTTP: so many are queued at once, and all answers awaited."""

    waiting: int


@dataclass(frozen=True, slots=True)
class Replays:
    """Starts after a crash: every train step is in the journal, none in a checkpoint."""


Way: TypeAlias = Posts | Frames | Reads | Bursts | Replays


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a sample.

    Attributes:
        unit: as the report names it.
        of: the figure.
    """

    unit: str
    of: Callable[[Sample], float]


STEPS = Measure("steps/s", lambda sample: sample.requests_per_s)
P50 = Measure("p50 ms", lambda sample: sample.p50_ms)
P99 = Measure("p99 ms", lambda sample: sample.p99_ms)
SECONDS = Measure("s per 1,000 steps", lambda sample: 1e3 / sample.requests_per_s)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ways of doing one thing; the first is what the others are divided by.

    Attributes:
        name: what `--only` matches.
        measures: the figures that are compared.
        ways: each with its label.
        is_quick: also measured by `--quick`.
    """

    name: str
    measures: tuple[Measure, ...]
    ways: tuple[tuple[str, Way], ...]
    is_quick: bool = False

    @property
    def servers(self) -> frozenset[str]:
        """The servers that it needs."""
        names = {OURS} if any(isinstance(way, Reads) for _, way in self.ways) else set()
        for _, way in self.ways:
            match way:
                case Posts(server=name) | Frames(server=name) | Reads(trained=name) if name:
                    names.add(name)
        return frozenset(names)


def _durable(connections: int, *, is_quick: bool = False) -> Comparison:
    ways = (
        ("stores nothing", Posts(VOLATILE, connections)),
        ("durable", Posts(OURS, connections)),
    )
    return Comparison(f"durable-c{connections}", (STEPS, P99), ways, is_quick)


def _reader(rows: int, *, is_quick: bool = False) -> Comparison:
    ways = (
        ("nothing is trained", Reads(rows)),
        ("another process trains", Reads(rows, VOLATILE)),
        ("the same model trains", Reads(rows, OURS)),
    )
    return Comparison(f"reader-{rows}", (P50, P99), ways, is_quick)


COMPARISONS = (
    _durable(1, is_quick=True),
    _durable(8),
    Comparison(
        "group-commit",
        (STEPS,),
        tuple((f"{waiting} waiting", Bursts(waiting)) for waiting in (1, 4, 16)),
        is_quick=True,
    ),
    _reader(1, is_quick=True),
    _reader(ROWS),
    Comparison(
        "recovery",
        (SECONDS,),
        (("trained, one by one", Bursts(1)), ("replayed", Replays())),
        is_quick=True,
    ),
    Comparison(
        "stream",
        (STEPS,),
        (
            ("posts, 1 connection", Posts(OURS, 1)),
            ("posts, 8 connections", Posts(OURS, 8)),
            ("frames of one stream", Frames(OURS)),
        ),
    ),
)
