"""What is measured against Slimvec itself, as a table: ways of doing one thing, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.contenders import BOUNDED, DETERMINISTIC, OURS, ROOM, VOLATILE
from benchmarks.rounds import Sample
from benchmarks.work import JSON, SAFETENSORS

ROWS = 32
# As many as a body may hold: 62 MiB of safetensors, 5 MiB of JSON.
MOST_ROWS, JSON_ROWS = 21_000, 320


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
        beside: how many rows another connection sends at once, all the time; 0: none.
        media_type: of what the other connection sends.
        server: who is asked.
    """

    rows: int
    trained: str = ""
    beside: int = 0
    media_type: str = SAFETENSORS
    server: str = OURS


@dataclass(frozen=True, slots=True)
class Turns:
    """Reduces without HTTP: so many are ready in the same turn of the loop.

    Attributes:
        rows: of each request.
        waiting: how many.
    """

    rows: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Reduces over one connection, of this size."""

    rows: int
    width: int


@dataclass(frozen=True, slots=True)
class Bursts:
    """Train steps without HTTP: so many are queued at once, and all answers awaited."""

    waiting: int


@dataclass(frozen=True, slots=True)
class Replays:
    """Starts after a crash: every train step is in the journal, none in a checkpoint."""


@dataclass(frozen=True, slots=True)
class Crowds:
    """Train steps of a server with room for few; whoever is refused comes again when told to."""

    connections: int


Way: TypeAlias = Posts | Frames | Reads | Turns | Sizes | Bursts | Replays | Crowds


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
REDUCES = Measure("reduces/s", lambda sample: sample.requests_per_s)
NUMBERS = Measure("million numbers/s", lambda sample: sample.requests_per_s / 1e6)
REFUSALS_P99 = Measure("p99 ms of refusals", lambda sample: sample.p99_ms)
PEAK = Measure("MiB at the peak", lambda sample: sample.peak_mib)
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
        names = {OURS} if any(isinstance(way, Sizes) for _, way in self.ways) else set()
        for _, way in self.ways:
            if isinstance(way, Reads):
                names.add(way.server)
            if isinstance(way, Crowds):
                names.add(BOUNDED)
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


def _deterministic(rows: int) -> Comparison:
    ways = (
        ("as fast as can be", Reads(rows)),
        ("deterministic", Reads(rows, server=DETERMINISTIC)),
    )
    return Comparison(f"deterministic-{rows}", (REDUCES, P50), ways)


def _in_a_turn(rows: int) -> Comparison:
    ways = tuple((f"{waiting} in a turn", Turns(rows, waiting)) for waiting in (1, 8, 64))
    return Comparison(f"turn-{rows}", (REDUCES,), ways)


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
    Comparison(
        "beside-large",
        (P50, P99),
        (
            ("one row, alone", Reads(1)),
            ("beside 62 MiB of safetensors", Reads(1, beside=MOST_ROWS)),
            ("beside 5 MiB of JSON", Reads(1, beside=JSON_ROWS, media_type=JSON)),
        ),
    ),
    Comparison(
        "overload",
        (STEPS, REFUSALS_P99),
        tuple((f"{n}x the steps that fit", Crowds(n * ROOM)) for n in (1, 3)),
        is_quick=True,
    ),
    _deterministic(1),
    _deterministic(ROWS),
    _deterministic(250),
    _in_a_turn(1),
    _in_a_turn(8),
    _in_a_turn(ROWS),
    Comparison(
        "rows",
        (NUMBERS, PEAK),
        tuple((f"{rows:,} x 128", Sizes(rows, 128)) for rows in (1000, 10_000, 100_000)),
    ),
    Comparison(
        "width",
        (NUMBERS, PEAK),
        tuple((f"1,000 x {width:,}", Sizes(1000, width)) for width in (512, 2048, 8192)),
    ),
)
