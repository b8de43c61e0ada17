"""Training streams of a real server process: killed, drained, flooded."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.types import FloatArray
from tests.e2e.conftest import DEMO, ROOT
from tests.e2e.process import ServerProcess
from tests.e2e.requests import state, train
from tests.stream import FRAMES, Line, StreamClient, frame

_NUM_RECORDS = 200


@pytest.fixture(scope="module")
def records(stream: FloatArray) -> list[bytes]:
    """A stream's records, each with its key."""
    return [
        frame(f"record-{number}", hidden_states=np.roll(stream, number, axis=1)[:16])
        for number in range(_NUM_RECORDS)
    ]


@contextmanager
def _sending(server: ServerProcess, records: list[bytes]) -> Iterator[StreamClient]:
    """A stream whose records are sent in a thread, as fast as they are taken."""
    with StreamClient(str(server.client.base_url), content_type=FRAMES) as stream:

        def send() -> None:
            with suppress(OSError):  # the server is ended in the middle
                for record in records:
                    stream.send(record)
                stream.end()

        sender = Thread(target=send)
        sender.start()
        yield stream
        sender.join()


def _read(stream: StreamClient) -> list[Line]:
    """Every line, up to the end of the answer or of the connection."""
    lines: list[Line] = []
    with suppress(OSError, ValueError):
        lines.extend(stream.lines())
    return lines


def _read_up_to(stream: StreamClient, number: int) -> None:
    while (stream.line() or {"ack": number})["ack"] < number:
        pass


class End(NamedTuple):
    """Where a model stands after the stream."""

    version: int
    weights: str
    state: str


def _finished(server: ServerProcess, records: list[bytes]) -> End:
    """Send the whole stream; where the model stands after it."""
    with _sending(server, records) as stream:
        assert _read(stream)[-1]["ack"] == _NUM_RECORDS
    weights = server.client.get(f"/models/{DEMO}").json()["digest"]
    end = state(server.client, DEMO)
    return End(end["version"], weights, end["state_digest"])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, records: list[bytes]) -> End:
    """Where the stream leads when nothing happens."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / DEMO / "1", models / DEMO / "1")
    with ServerProcess(models) as server:
        return _finished(server, records)


# An ending server writes a checkpoint, for which the gate is asked: the state says when that was.
@pytest.mark.parametrize(("number", "same"), [(signal.SIGKILL, 3), (signal.SIGTERM, 2)])
def test_a_stream_sent_again_after_the_servers_end_is_applied_exactly_once(
    models_dir: Path,
    records: list[bytes],
    uninterrupted: End,
    number: signal.Signals,
    same: int,
) -> None:
    with ServerProcess(models_dir) as server, _sending(server, records) as stream:
        _read_up_to(stream, 50)
        server.stop(number)
        _read(stream)
    with ServerProcess(models_dir) as server:
        assert state(server.client, DEMO)["version"] > 50
        assert _finished(server, records)[:same] == uninterrupted[:same]


def test_an_ending_server_acknowledges_what_it_took_and_says_why_it_stops(
    models_dir: Path, stream: FloatArray
) -> None:
    endless = [frame(hidden_states=stream[:16])] * 100_000
    with ServerProcess(models_dir) as server, _sending(server, endless) as sent:
        _read_up_to(sent, 20)
        server.process.send_signal(signal.SIGTERM)
        *acks, last = _read(sent)
        assert server.stop() == 0
    assert (last["record"], last["error"]["code"]) == (acks[-1]["ack"] + 1, "draining")
    with ServerProcess(models_dir) as server:
        assert state(server.client, DEMO)["version"] == acks[-1]["version"]


def test_an_idle_stream_and_an_idle_websocket_do_not_hold_the_end_up(
    models_dir: Path, records: list[bytes], stream: FloatArray
) -> None:
    with ServerProcess(models_dir) as server:
        url = str(server.client.base_url)
        with StreamClient(url) as idle, connect(f"ws{url[4:]}/train-stream") as websocket:
            assert idle.response.status == 200
            websocket.send(records[0][4:])
            assert json.loads(websocket.recv())["ack"] == 1
            server.process.send_signal(signal.SIGTERM)
            assert (idle.line() or {})["error"]["code"] == "draining"
            assert json.loads(websocket.recv())["error"]["code"] == "draining"
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv()
        assert server.stop() == 0
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def test_a_sender_that_never_pauses_takes_no_memory(models_dir: Path, stream: FloatArray) -> None:
    record = frame(hidden_states=np.tile(stream, (2, 1)))
    with ServerProcess(models_dir) as server:
        train(server.client, hidden_states=stream)
        with _sending(server, [record] * 40) as warm_up:
            _read(warm_up)
        before = _peak_bytes(server)
        with _sending(server, [record] * 200) as flood:
            assert _read(flood)[-1]["ack"] == 200
        grown = _peak_bytes(server) - before
    assert 200 * len(record) > 160 << 20
    assert grown < 64 << 20


def _peak_bytes(server: ServerProcess) -> int:
    """The most memory that the process ever had (Linux' own account of it)."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    fields: dict[str, Any] = dict(line.split(":\t") for line in lines)
    return int(fields["VmHWM"].removesuffix("kB")) * 1024


def test_the_examples_of_the_page_work(models_dir: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/streams.md").read_text(encoding="utf-8")
    with ServerProcess(models_dir) as server:
        port = str(server.client.base_url.port)
        shell, python = (
            re.search(f"```{name}\n(.*?)```", page, re.DOTALL)[1]  # type: ignore[index] # it is there
            .replace(":8000", f":{port}")
            .replace("/tmp/", f"{tmp_path}/")
            .replace("python -", f"{sys.executable} -")
            for name in ("sh", "python")
        )
        said = [_run("bash", "-euc", shell), _run(sys.executable, "-c", python)]
    assert '"ack":100,"version":101' in said[0]
    assert "'ack': 10, 'version': 111" in said[1]


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
