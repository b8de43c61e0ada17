"""Rounds: every lane in turn, again and again, so that a disturbance meets them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Protocol, TypeAlias, TypeVar

from benchmarks.scenarios import SHORT_NAMES


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        requests_per_s: answered, or steps done.
        p50_ms: median latency; NaN where single requests cannot be timed.
        p99_ms: its 99th percentile.
        cpu_us: CPU time of the server for one request, all threads; what other processes of the
            machine take from it hardly shows here.
        load_share: of one core, used by the load generator.
        peak_mib: most memory of the server meanwhile, beyond what it had at rest.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    load_share: float
    peak_mib: float = nan


# What is measured in one round: a contender or a way, and the media type where there are several.
Key: TypeAlias = tuple[str, str]
Lane: TypeAlias = Callable[[float], Sample]
Lanes: TypeAlias = Mapping[Key, Lane]
Samples: TypeAlias = dict[Key, list[Sample]]


class Named(Protocol):
    """What the lanes of a round belong to."""

    @property
    def name(self) -> str:
        """For the one who watches."""


N = TypeVar("N", bound=Named)


def run(
    plan: Mapping[N, Lanes], *, rounds: int, seconds: float, tell: Callable[[str], None]
) -> dict[N, Samples]:
    """Measure everything `rounds` times, side by side.

    Args:
        plan: what to measure.
        rounds: repetitions; every other one goes through the lanes backwards.
        seconds: length of one measurement.
        tell: shown each figure as it comes.

    Raises:
        ContenderFailed: a measurement met something else than answers with status 200.
    """
    results: dict[N, Samples] = {named: {key: [] for key in plan[named]} for named in plan}
    for number in range(rounds):
        for named, lanes in plan.items():
            for key in list(lanes)[:: -1 if number % 2 else 1]:
                sample = lanes[key](seconds)
                results[named][key].append(sample)
                who = " ".join((key[0], SHORT_NAMES.get(key[1], "")))
                tell(
                    f"round {number + 1}/{rounds}  {named.name:<18} {who:<22} "
                    f"{sample.requests_per_s:10,.0f}/s"
                )
    return results
