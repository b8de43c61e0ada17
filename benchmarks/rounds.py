"""Rounds: every contender in turn, again and again, so that a disturbance meets them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import TypeAlias

from benchmarks.contenders import ROOT, Call, ContenderFailed, Server
from benchmarks.in_process import step_seconds
from benchmarks.load import Load
from benchmarks.scenarios import SHORT_NAMES, Scenario
from benchmarks.verify import call
from benchmarks.work import JSON

IN_PROCESS = "in process"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        requests_per_s: answered, or steps done.
        p50_ms: median latency.
        p99_ms: its 99th percentile.
        cpu_us: CPU time of the server for one request, all threads; what other processes of the
            machine take from it hardly shows here.
        load_share: of one core, used by the load generator.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    load_share: float


# By contender and media type of the body.
Samples: TypeAlias = dict[tuple[str, str], list[Sample]]
Lane: TypeAlias = Callable[[float], Sample]


def run(
    servers: Mapping[str, Server],
    scenarios: list[Scenario],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> dict[Scenario, Samples]:
    """Measure everything `rounds` times, contenders side by side.

    Args:
        servers: by name, verified.
        scenarios: what to measure.
        rounds: repetitions; every other one goes through the contenders backwards.
        seconds: length of one measurement.
        tell: shown each figure as it comes.

    Raises:
        ContenderFailed: a measurement met something else than answers with status 200.
    """
    lanes = {scenario: _lanes(scenario, servers) for scenario in scenarios}
    results: dict[Scenario, Samples] = {s: {key: [] for key in lanes[s]} for s in scenarios}
    for number in range(rounds):
        for scenario in scenarios:
            for key in list(lanes[scenario])[:: -1 if number % 2 else 1]:
                sample = lanes[scenario][key](seconds)
                results[scenario][key].append(sample)
                who = " ".join((key[0], SHORT_NAMES.get(key[1], "")))
                tell(
                    f"round {number + 1}/{rounds}  {scenario.name:<18} {who:<20} "
                    f"{sample.requests_per_s:10,.0f}/s"
                )
    return results


def _lanes(scenario: Scenario, servers: Mapping[str, Server]) -> dict[tuple[str, str], Lane]:
    lanes: dict[tuple[str, str], Lane] = {}
    for media_type in scenario.media_types:
        ours = call("slimvec", scenario.verb, scenario.rows, media_type)
        length = len(servers["slimvec"].send(ours))
        echo = Call(f"/{length}", media_type, ours.body)
        lanes["slimvec", media_type] = _over_http(servers["slimvec"], ours, scenario)
        lanes["echo", media_type] = _over_http(servers["echo"], echo, scenario)
    theirs = call("naive", scenario.verb, scenario.rows, JSON)
    lanes["naive", JSON] = _over_http(servers["naive"], theirs, scenario)
    if scenario.verb == "train-step":
        lanes[IN_PROCESS, ""] = _in_process(scenario.rows)
    return lanes


def _over_http(server: Server, request: Call, scenario: Scenario) -> Lane:
    wire = request.wire()

    def measure(seconds: float) -> Sample:
        before = server.cpu_seconds()
        load = _load(server, wire, scenario.connections, seconds)
        used = server.cpu_seconds() - before
        cpu_us = used / load.answered * 1e6
        return Sample(load.requests_per_s, load.p50_ms, load.p99_ms, cpu_us, load.cpu_share)

    return measure


def _load(server: Server, wire: bytes, connections: int, seconds: float) -> Load:
    command = [sys.executable, "-m", "benchmarks.load"]
    numbers = [str(server.port), str(connections), str(seconds)]
    done = subprocess.run(
        [*command, *numbers], input=wire, cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        raise ContenderFailed(f"{server.name} under load: {done.stderr.decode()[-1000:]}")
    return Load(**json.loads(done.stdout))


def _in_process(rows: int) -> Lane:
    def measure(seconds: float) -> Sample:
        cpu_began = process_time()
        durations = sorted(step_seconds(rows, seconds=seconds))
        cpu_us = (process_time() - cpu_began) / len(durations) * 1e6
        p99_ms = durations[round((len(durations) - 1) * 0.99)] * 1e3
        p50_ms = median(durations) * 1e3
        return Sample(len(durations) / sum(durations), p50_ms, p99_ms, cpu_us, 0.0)

    return measure
