"""The contenders: each server a process on a free port, ready before it is used."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from safetensors.numpy import save_file

from benchmarks.work import JSON, SAFETENSORS, model_config, weights

ROOT = Path(__file__).parent.parent
OURS, VOLATILE, DETERMINISTIC = "slimvec", "volatile", "deterministic"
# Ours, with room for so many train steps at once: half of them wait, half are carried out.
BOUNDED, ROOM = "bounded", 16
# The same plain service with `async def` routes, and with `def` routes.
NAIVE, NAIVE_DEF = "naive", "naive-def"
REDUCER = "reducer"
# One for each body format, so that each starts from the same weights.
LEARNERS = {JSON: "learner-json", SAFETENSORS: "learner-safetensors"}

_URL = re.compile(r"http://127\.0\.0\.1:(\d+)")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 40.0
_POLL_S = 0.05


class ContenderFailed(Exception):
    """A server did not start, or answered a request with a refusal."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what the load generator repeats."""

    path: str
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def wire(self) -> bytes:
        """The whole request as it goes over a connection that stays open."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: {self.media_type}\r\nContent-Length: {len(self.body)}\r\n"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{head}{more}\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Server:
    """A running contender."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def send(self, call: Call) -> bytes:
        """The body of one answer.

        Raises:
            ContenderFailed: it is not 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": call.media_type, **dict(call.headers)}
            connection.request("POST", call.path, call.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ContenderFailed(f"{self.name} answers {answer.status}: {body[:500]!r}")
        return body

    def cpu_seconds(self) -> float:
        """What the process has used so far, all threads; NaN where there is no /proc."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        except FileNotFoundError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(folder: Path, names: Set[str]) -> Iterator[dict[str, Server]]:
    """Servers of the same layer, until the end; `folder` is for their models and logs."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                started([sys.executable, "-m", *_module(n, folder)], _log(folder, n))
            )
            for n in sorted(names)
        ]
        found = zip(sorted(names), processes, strict=True)
        yield {name: _ready(name, process, folder) for name, process in found}


def write_model(version: Path) -> None:
    """The layer as version 1 of a model."""
    version.mkdir(parents=True)
    (version / "config.json").write_text(json.dumps(model_config()))
    save_file({"Q_reduced": weights()}, version / "model.safetensors", {"format": "pt"})


def _module(name: str, folder: Path) -> list[str]:
    """What `python -m` is told to start."""
    match name:
        case "echo":
            return ["benchmarks.servers.echo"]
        case "naive" | "naive-def":
            layer = folder / f"{name}.safetensors"
            save_file({"Q_reduced": weights()}, layer)
            return ["benchmarks.servers.naive", str(layer), "def" if name == NAIVE_DEF else "async"]
    models = folder / name
    for model in (REDUCER, *LEARNERS.values()):
        write_model(models / model / "1")
    if name == VOLATILE:
        return ["benchmarks.servers.volatile", str(models), REDUCER]
    flags = {
        DETERMINISTIC: ["--deterministic"],
        BOUNDED: [f"--train-queue={ROOM // 2}", f"--train-group={ROOM // 2}"],
    }.get(name, [])
    return ["app", "serve", "--models-dir", str(models), "--default-model", REDUCER,
            "--port", "0", "--device", "cpu", "--threads", "1", *flags]  # fmt: skip


@contextmanager
def started(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the end, all that it says in a file; it is asked to end, then killed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(name: str, process: subprocess.Popen[bytes], folder: Path) -> Server:
    """The server, as soon as it has printed its URL."""
    log = _log(folder, name)
    deadline = monotonic() + _START_TIMEOUT_S
    while not (found := _URL.search(log.read_text(errors="replace"))):
        if process.poll() is not None or monotonic() > deadline:
            raise ContenderFailed(f"{name} did not start:\n{log.read_text()[-2000:]}")
        sleep(_POLL_S)
    return Server(name, int(found[1]), process)


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"
