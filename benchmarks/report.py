"""The report: Markdown, medians of the rounds, ratios round by round with their spread."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from math import isnan
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks.comparisons import Comparison
from benchmarks.contenders import NAIVE, NAIVE_DEF
from benchmarks.in_process import IN_PROCESS
from benchmarks.rounds import Sample, Samples
from benchmarks.scenarios import SHORT_NAMES, Scenario
from benchmarks.work import INPUT_SIZE, JSON, N_COMPONENTS

Measured: TypeAlias = Scenario | Comparison

_HEAD = (
    "| scenario | body | req/s | p50 ms | p99 ms | x naive JSON | x naive by CPU | x naive `def` "
    "| % of echo | CPU µs | load CPU |"
)
_TRAIN_HEAD = (
    "| train step | body | p50 ms | in process, p50 ms | x in process | CPU µs "
    "| in process, CPU µs | x in process by CPU |"
)
_COMPARISON_HEAD = "| comparison | way | figure | | x the first | CPU µs |"


def render(results: Mapping[Measured, Samples], *, rounds: int, seconds: float) -> str:
    """The whole report."""
    parts = [machine(), method(rounds, seconds)]
    requests = {m: samples for m, samples in results.items() if isinstance(m, Scenario)}
    trained = {s: samples for s, samples in requests.items() if (IN_PROCESS, "") in samples}
    compared = {m: samples for m, samples in results.items() if isinstance(m, Comparison)}
    if requests:
        parts += ["", table(_HEAD, _per_body(requests, _line))]
    if trained:
        parts += ["", table(_TRAIN_HEAD, _per_body(trained, _train_line))]
    if compared:
        parts += ["", table(_COMPARISON_HEAD, _comparison_lines(compared))]
    return "\n".join(parts) + "\n"


def machine() -> str:
    """One line on what this ran on."""
    packages = ("torch", "fastapi", "uvicorn", "uvloop", "httptools")
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f"; load averages at the end {load}."
    )


def ratio(over: list[float], under: list[float], *, digits: int = 1) -> str:
    """The median of the rounds' ratios, and between which two they all lie."""
    ratios = [a / b for a, b in zip(over, under, strict=True) if b]
    if not ratios or any(map(isnan, ratios)):
        return "-"
    middle, low, high = (f"{r:.{digits}f}" for r in (median(ratios), min(ratios), max(ratios)))
    return middle if len(ratios) == 1 else f"**{middle}** ({low} to {high})"


def method(rounds: int, seconds: float) -> str:
    """One line on how this was measured."""
    return (
        f"Layer {INPUT_SIZE} → {N_COMPONENTS}, float32; one server process, one torch thread; "
        f"medians of {rounds} interleaved round{'s' if rounds > 1 else ''} of {seconds:g} s, "
        "in brackets the least and the most of the rounds."
    )


def table(head: str, lines: Iterable[list[str]]) -> str:
    """A Markdown table."""
    rule = "|---" * (head.count("|") - 1) + "|"
    return "\n".join([head, rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _per_body(
    results: Mapping[Scenario, Samples], line: Callable[[Scenario, Samples, str], list[str]]
) -> Iterator[list[str]]:
    for scenario, samples in results.items():
        for media_type in scenario.media_types:
            yield line(scenario, samples, media_type)


def _comparison_lines(results: Mapping[Comparison, Samples]) -> Iterator[list[str]]:
    for comparison, samples in results.items():
        first = samples[comparison.ways[0][0], ""]
        for measure in comparison.measures:
            for label, _ in comparison.ways:
                these = samples[label, ""]
                yield [
                    comparison.name,
                    label,
                    _significant(_median(these, measure.of)),
                    measure.unit,
                    ratio([*map(measure.of, these)], [*map(measure.of, first)], digits=2)
                    if these is not first
                    else "1",
                    _number(_median(these, _cpu)),
                ]


def _line(scenario: Scenario, samples: Samples, media_type: str) -> list[str]:
    ours, echo = samples["slimvec", media_type], samples["echo", media_type]
    naive, in_threads = samples[NAIVE, JSON], samples[NAIVE_DEF, JSON]
    return [
        scenario.name,
        SHORT_NAMES[media_type],
        f"{_median(ours, _rate):,.0f}",
        f"{_median(ours, _p50):.2f}",
        f"{_median(ours, lambda sample: sample.p99_ms):.2f}",
        ratio([*map(_rate, ours)], [*map(_rate, naive)]),
        ratio([*map(_cpu, naive)], [*map(_cpu, ours)]),
        ratio([*map(_rate, ours)], [*map(_rate, in_threads)]),
        ratio([*map(_rate, ours)], [_rate(sample) / 100 for sample in echo], digits=0),
        _number(_median(ours, _cpu)),
        f"{_median(ours, lambda sample: sample.load_share):.2f}",
    ]


def _train_line(scenario: Scenario, samples: Samples, media_type: str) -> list[str]:
    ours, plain = samples["slimvec", media_type], samples[IN_PROCESS, ""]
    return [
        scenario.name,
        SHORT_NAMES[media_type],
        f"{_median(ours, _p50):.2f}",
        f"{_median(plain, _p50):.2f}",
        ratio([*map(_p50, ours)], [*map(_p50, plain)], digits=2),
        _number(_median(ours, _cpu)),
        _number(_median(plain, _cpu)),
        ratio([*map(_cpu, ours)], [*map(_cpu, plain)], digits=2),
    ]


def _rate(sample: Sample) -> float:
    return sample.requests_per_s


def _p50(sample: Sample) -> float:
    return sample.p50_ms


def _cpu(sample: Sample) -> float:
    return sample.cpu_us


def _median(samples: list[Sample], field: Callable[[Sample], float]) -> float:
    return median(map(field, samples))


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:,.0f}"


def _significant(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
