"""What `/stats` tells: how many inferences of each model, and where their time went."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from time import perf_counter_ns, time
from types import TracebackType


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long that took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Count one more."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class Record:
    """The counters of one model since the start; written by the event loop's thread alone.

    Attributes:
        num_rows: rows of the inferences that succeeded.
        num_runs: those of them that had rows.
        last_ms: when the last one was answered, in milliseconds since 1970; 0: never.
    """

    num_rows: int = 0
    num_runs: int = 0
    last_ms: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)

    def add(self, laps: list[int], num_rows: int) -> None:
        """Count an inference that succeeded: times of decoding, product and encoding."""
        for duration, ns in zip(
            (self.compute_input, self.compute_infer, self.compute_output), laps, strict=True
        ):
            duration.add(ns)
        self.success.add(sum(laps))
        self.num_rows += num_rows
        self.num_runs += num_rows > 0
        self.last_ms = int(time() * 1e3)


class Timing:
    """Takes the times of one inference; leaving its `with` block counts it, well or failed.

    Args:
        record: where it is counted.

    Attributes:
        num_rows: to be set before the end.
    """

    __slots__ = ("_laps", "_last", "_record", "num_rows")

    def __init__(self, record: Record) -> None:
        self._record = record
        self._laps: list[int] = []
        self._last = 0
        self.num_rows = 0

    def lap(self) -> None:
        """One part is done: decoding, the product, or encoding."""
        now = perf_counter_ns()
        self._laps.append(now - self._last)
        self._last = now

    def __enter__(self) -> Timing:
        self._last = perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lap()
        if error is None:
            self._record.add(self._laps, self.num_rows)
        else:
            self._record.fail.add(sum(self._laps))


class Statistics:
    """The records of all models."""

    def __init__(self) -> None:
        self._records: defaultdict[str, Record] = defaultdict(Record)

    def of(self, model: str) -> Record:
        """The record of a model that there is."""
        return self._records[model]
