"""Lanes: how one thing is measured once, for each contender and each way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import durable
from benchmarks.comparisons import (
    ROWS,
    Bursts,
    Comparison,
    Crowds,
    Frames,
    Posts,
    Reads,
    Replays,
    Sizes,
    Turns,
    Way,
)
from benchmarks.contenders import (
    BOUNDED,
    LEARNERS,
    NAIVE,
    NAIVE_DEF,
    OURS,
    ROOT,
    Call,
    ContenderFailed,
    Server,
)
from benchmarks.engine import turns_sample
from benchmarks.in_process import IN_PROCESS, step_sample
from benchmarks.load import Load
from benchmarks.rounds import Lane, Lanes, Sample
from benchmarks.scenarios import Scenario
from benchmarks.sizes import size_sample
from benchmarks.verify import call
from benchmarks.work import JSON, SAFETENSORS, batch, encode

_MODEL = LEARNERS[SAFETENSORS]
_UNTIL_STOPPED_S = 3600.0


def of_scenario(scenario: Scenario, servers: Mapping[str, Server]) -> Lanes:
    """Slimvec and echo for each media type, the plain service, and a bare loop for train steps."""
    lanes: dict[tuple[str, str], Lane] = {}
    connections = scenario.connections
    for media_type in scenario.media_types:
        ours = call(OURS, scenario.verb, scenario.rows, media_type)
        length = len(servers[OURS].send(ours))
        echo = Call(f"/{length}", media_type, ours.body)
        lanes[OURS, media_type] = over_http(servers[OURS], ours, connections)
        lanes["echo", media_type] = over_http(servers["echo"], echo, connections)
    for naive in (NAIVE, NAIVE_DEF):
        theirs = call(naive, scenario.verb, scenario.rows, JSON)
        lanes[naive, JSON] = over_http(servers[naive], theirs, connections)
    if scenario.verb == "train-step":
        lanes[IN_PROCESS, ""] = partial(step_sample, scenario.rows)
    return lanes


def of_comparison(comparison: Comparison, servers: Mapping[str, Server], folder: Path) -> Lanes:
    """One lane for each way; `folder` is where those without a server keep their models."""
    return {(label, ""): _of_way(way, servers, folder) for label, way in comparison.ways}


def _of_way(way: Way, servers: Mapping[str, Server], folder: Path) -> Lane:
    match way:
        case Posts(server=name, connections=connections):
            step = call(OURS, "train-step", ROWS, SAFETENSORS)
            return over_http(servers[name], step, connections)
        case Frames(server=name):
            return partial(_streamed, servers[name])
        case Reads():
            return _reads(way, servers)
        case Turns(rows=rows, waiting=waiting):
            return partial(turns_sample, rows, waiting)
        case Sizes(rows=rows, width=width):
            return partial(size_sample, servers[OURS], rows, width)
        case Crowds(connections=connections):
            return partial(_crowded, servers[BOUNDED], connections)
        case Bursts(waiting=waiting):
            return partial(durable.train_sample, folder, ROWS, waiting)
        case Replays():
            return partial(durable.replay_sample, folder, ROWS)


def _reads(way: Reads, servers: Mapping[str, Server]) -> Lane:
    server = servers[way.server]
    lane = over_http(server, _read(way.rows, SAFETENSORS), connections=1)
    if way.trained:
        return _while(lane, partial(_training, servers[way.trained]))
    if way.beside:
        large = _read(way.beside, way.media_type)
        return _while(lane, partial(_loading, server, large))
    return lane


def _read(rows: int, media_type: str) -> Call:
    body = encode(batch(rows, with_targets=False), media_type)
    return Call(f"/models/{_MODEL}/reduce", media_type, body)


def over_http(server: Server, request: Call, connections: int) -> Lane:
    """Load the server with one request over so many connections."""
    wire = request.wire()

    def measure(seconds: float) -> Sample:
        arguments = ("benchmarks.load", str(server.port), str(connections), str(seconds))
        return _sample(server, arguments, wire)

    return measure


def _streamed(server: Server, seconds: float) -> Sample:
    return _sample(server, _stream_arguments(server, seconds), _frame())


def _crowded(server: Server, connections: int, seconds: float) -> Sample:
    arguments = ("benchmarks.overload", str(server.port), str(connections), str(seconds))
    return _sample(server, arguments, call(OURS, "train-step", ROWS, SAFETENSORS).wire())


def _sample(server: Server, arguments: tuple[str, ...], sent: bytes) -> Sample:
    """What a load generator sees, and what the server used for it."""
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", *arguments], input=sent, cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        raise ContenderFailed(f"{server.name} under load: {done.stderr.decode()[-1000:]}")
    load = Load(**json.loads(done.stdout.splitlines()[-1]))
    cpu_us = (server.cpu_seconds() - before) / load.answered * 1e6
    return Sample(load.requests_per_s, load.p50_ms, load.p99_ms, cpu_us, load.cpu_share)


def _while(lane: Lane, beside: Callable[[], AbstractContextManager[None]]) -> Lane:
    def measure(seconds: float) -> Sample:
        with beside():
            return lane(seconds)

    return measure


def _training(server: Server) -> AbstractContextManager[None]:
    """A stream of train steps at full speed, from its first acknowledgement on."""
    return _under_way(server, _stream_arguments(server, _UNTIL_STOPPED_S), _frame())


def _loading(server: Server, large: Call) -> AbstractContextManager[None]:
    """Large requests, one after the other, from the first answer on."""
    arguments = ("benchmarks.heavy", str(server.port), large.path, large.media_type)
    return _under_way(server, arguments, large.body)


@contextmanager
def _under_way(server: Server, arguments: tuple[str, ...], sent: bytes) -> Iterator[None]:
    """A load that goes on beside a measurement, from its first line of output on."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        process.stdin.write(sent)
        process.stdin.close()
        if not process.stdout.readline():
            raise ContenderFailed(f"{server.name} answers nothing to {arguments[0]}")
        try:
            yield
            if process.poll() is not None:
                raise ContenderFailed(f"{server.name} ended what {arguments[0]} sends")
        finally:
            process.terminate()


def _stream_arguments(server: Server, seconds: float) -> tuple[str, ...]:
    path = f"/models/{_MODEL}/train-stream"
    return ("benchmarks.stream_load", str(server.port), path, str(seconds))


def _frame() -> bytes:
    body = encode(batch(ROWS, with_targets=True), SAFETENSORS)
    return len(body).to_bytes(4, "little") + body
