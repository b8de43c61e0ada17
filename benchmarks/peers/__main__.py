"""`python -m benchmarks.peers` (or `make bench-peers`): Slimvec beside other servers of models."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import click
import numpy as np

from benchmarks.contenders import OURS, ContenderFailed, Server, running, started
from benchmarks.lanes import over_http
from benchmarks.peers.environments import python_of
from benchmarks.peers.table import DIALECTS, MEETINGS, PEERS, Meeting
from benchmarks.report import machine, method, ratio, table
from benchmarks.rounds import Key, Lane, Samples, run
from benchmarks.work import weights

_SCRIPTS = Path(__file__).parent
_START_TIMEOUT_S = 90.0
_POLL_S = 0.2
_TOLERANCE = 1e-5
_HEAD = "| request | server | req/s | p50 ms | p99 ms | Slimvec is x this |"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="repetitions, interleaved")
@click.option("--seconds", default=1.0, show_default=True, help="length of one measurement")
@click.option("--only", multiple=True, metavar="TEXT", help="requests whose name contains this")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEERS), default=PEERS)
@click.option("--output", type=click.Path(path_type=Path), help="also write the report here")
def main(
    rounds: int, seconds: float, only: tuple[str, ...], peers: tuple[str, ...], output: Path | None
) -> None:
    """Measure Slimvec beside its peers; one that cannot run here is named, with the reason."""
    chosen = [m for m in MEETINGS if not only or any(text in m.name for text in only)]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        servers = stack.enter_context(running(folder, {OURS}))
        absent = {}
        for peer in peers:
            try:
                servers[peer] = stack.enter_context(_peer(peer, folder))
            except ContenderFailed as error:
                absent[peer] = str(error)
        plan = {meeting: _lanes(meeting, servers) for meeting in chosen}
        results = run(plan, rounds=rounds, seconds=seconds, tell=partial(click.echo, err=True))
    report = "\n".join(
        [machine(), method(rounds, seconds), "", *_lines(results), *_missing(absent)]
    )
    click.echo(report)
    if output:
        output.write_text(f"{report}\n")


@contextmanager
def _peer(name: str, folder: Path) -> Iterator[Server]:
    """A peer of the same layer on a free port, until the end.

    Raises:
        ContenderFailed: it cannot be installed, or does not start.
    """
    matrix, port = folder / "weights.npy", _free_port()
    np.save(matrix, weights())
    command = [str(python_of(name)), str(_SCRIPTS / name / "serve.py"), str(matrix), str(port)]
    log = folder / f"{name}.log"
    with started(command, log, _alone(name)) as process:
        server = Server(name, port, process)
        _await(server, log)
        yield server


def _alone(name: str) -> dict[str, str]:
    """Its own environment's programs first, one thread for every kind of arithmetic."""
    path = f"{python_of(name).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _await(server: Server, log: Path) -> None:
    """Wait until every dialect of the server gives numpy's product."""
    deadline = monotonic() + _START_TIMEOUT_S
    while True:
        try:
            for body in DIALECTS:
                _verify(server, Meeting(body, 2, 1))
        except (OSError, ContenderFailed) as error:
            if server.process.poll() is not None or monotonic() > deadline:
                said = log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise ContenderFailed(f"{error}; its last line: {said[:300]}") from None
            sleep(_POLL_S)
        else:
            return


def _verify(server: Server, meeting: Meeting) -> None:
    dialect = DIALECTS[meeting.body].get(server.name)
    if dialect is None:
        return
    rows = meeting.hidden_states
    found = dialect.read(server.send(dialect.call(rows)), meeting.rows)
    if not np.allclose(found, rows @ weights().T, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ContenderFailed(f"{server.name}: {meeting.body} is not numpy's product")


def _lanes(meeting: Meeting, servers: Mapping[str, Server]) -> Mapping[Key, Lane]:
    dialects = DIALECTS[meeting.body]
    lanes: dict[Key, Lane] = {}
    for name in dialects.keys() & servers.keys():
        _verify(servers[name], meeting)
        request = dialects[name].call(meeting.hidden_states)
        lanes[name, ""] = over_http(servers[name], request, meeting.connections)
    return {key: lanes[key] for key in sorted(lanes, key=lambda key: (key[0] != OURS, key[0]))}


def _lines(results: Mapping[Meeting, Samples]) -> list[str]:
    rows = []
    for meeting, samples in results.items():
        ours = [sample.requests_per_s for sample in samples[OURS, ""]]
        for (name, _), theirs in samples.items():
            rates = [sample.requests_per_s for sample in theirs]
            rows.append(
                [
                    meeting.name,
                    name,
                    f"{median(rates):,.0f}",
                    f"{median(sample.p50_ms for sample in theirs):.2f}",
                    f"{median(sample.p99_ms for sample in theirs):.2f}",
                    "1" if name == OURS else ratio(ours, rates),
                ]
            )
    return [table(_HEAD, rows)]


def _missing(absent: Mapping[str, str]) -> list[str]:
    return ["", *(f"Not measured: {peer}: {why}" for peer, why in absent.items())]


def _free_port() -> int:
    """A port that is free, with its neighbour (some peers listen for gRPC on it)."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


if __name__ == "__main__":
    main()
