"""Lanes: how one thing is measured once, for each contender and each way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import durable
from benchmarks.comparisons import (
    ROWS,
    Bursts,
    Comparison,
    Frames,
    Posts,
    Reads,
    Replays,
    Way,
)
from benchmarks.contenders import (
    LEARNERS,
    NAIVE,
    NAIVE_DEF,
    OURS,
    ROOT,
    Call,
    ContenderFailed,
    Server,
)
from benchmarks.in_process import IN_PROCESS, step_sample
from benchmarks.load import Load
from benchmarks.rounds import Lane, Lanes, Sample
from benchmarks.scenarios import Scenario
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
        case Reads(rows=rows, trained=name):
            reduce = call(OURS, "reduce", rows, SAFETENSORS)
            read = Call(f"/models/{_MODEL}/reduce", SAFETENSORS, reduce.body)
            lane = over_http(servers[OURS], read, connections=1)
            return _while_training(lane, servers[name]) if name else lane
        case Bursts(waiting=waiting):
            return partial(durable.train_sample, folder, ROWS, waiting)
        case Replays():
            return partial(durable.replay_sample, folder, ROWS)


def over_http(server: Server, request: Call, connections: int) -> Lane:
    """Load the server with one request over so many connections."""
    wire = request.wire()

    def measure(seconds: float) -> Sample:
        arguments = ("benchmarks.load", str(server.port), str(connections), str(seconds))
        return _sample(server, arguments, wire)

    return measure


def _streamed(server: Server, seconds: float) -> Sample:
    return _sample(server, _stream_arguments(server, seconds), _frame())


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


def _while_training(lane: Lane, server: Server) -> Lane:
    def measure(seconds: float) -> Sample:
        with _training(server):
            return lane(seconds)

    return measure


@contextmanager
def _training(server: Server) -> Iterator[None]:
    """A stream of train steps at full speed, from its first acknowledgement on."""
    command = [sys.executable, "-m", *_stream_arguments(server, _UNTIL_STOPPED_S)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        process.stdin.write(_frame())
        process.stdin.close()
        if not process.stdout.readline():
            raise ContenderFailed(f"{server.name} acknowledges nothing of a stream")
        try:
            yield
            if process.poll() is not None:
                raise ContenderFailed(f"{server.name} ended a stream of train steps")
        finally:
            process.terminate()


def _stream_arguments(server: Server, seconds: float) -> tuple[str, ...]:
    path = f"/models/{_MODEL}/train-stream"
    return ("benchmarks.stream_load", str(server.port), path, str(seconds))


def _frame() -> bytes:
    body = encode(batch(ROWS, with_targets=True), SAFETENSORS)
    return len(body).to_bytes(4, "little") + body
