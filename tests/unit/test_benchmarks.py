"""The benchmark programme works: it verifies, loads, measures, reports. No timing is asserted."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save

from app.types import FloatArray
from benchmarks.__main__ import main as benchmarks
from benchmarks.comparisons import (
    COMPARISONS,
    Bursts,
    Frames,
    Posts,
    Reads,
    Replays,
)
from benchmarks.contenders import (
    NAIVE,
    NAIVE_DEF,
    OURS,
    ROOT,
    VOLATILE,
    Call,
    ContenderFailed,
)
from benchmarks.gpu import Timing, measure, table
from benchmarks.gpu import main as gpu
from benchmarks.in_process import IN_PROCESS, Learner
from benchmarks.load import BadAnswer, Load, body_length, drive
from benchmarks.report import ratio, render
from benchmarks.rounds import Sample
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.verify import TRAIN_ROWS, verify_reduce, verify_training
from benchmarks.work import JSON, SAFETENSORS, batch, weights

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

COMPARED_NAMES = ("reader-1", "stream")
COMPARED = tuple(f"| {name} |" for name in COMPARED_NAMES)
REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def sample(rate: float, p50_ms: float = 1.0) -> Sample:
    return Sample(rate, p50_ms, 2.0, 100.0, 0.1)


@pytest.mark.timeout(300)  # it starts four servers
def test_programme_verifies_measures_and_prints_every_row_with_its_ratios(tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    report = measured(output, "train-step-32-c1", *COMPARED_NAMES)
    rows = [line.split(" | ") for line in report.splitlines() if "train-step-32" in line]
    assert [row[1] for row in rows] == ["JSON", "safetensors"] * 2
    ratios = [row[5] for row in rows[:2]] + [row[4] for row in rows[2:]]
    assert all(float(ratio) > 0 for ratio in ratios)
    compared = [line.split(" | ") for line in report.splitlines() if line.startswith(COMPARED)]
    labels = {row[1] for row in compared}
    assert labels == {label for c in COMPARISONS for label, _ in c.ways if c.name in COMPARED_NAMES}
    assert all(float(row[4]) > 0 for row in compared)


def measured(output: Path, *only: str) -> str:
    options = ["--rounds", "1", "--seconds", "0.05", "--output", str(output)]
    for name in only:
        options += ["--only", name]
    command = [sys.executable, "-m", "benchmarks", *options, "--folder", str(output.parent)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return output.read_text()


def test_unknown_scenario_is_refused_with_the_known_ones() -> None:
    finished = CliRunner().invoke(benchmarks, ["--only", "no-such"])
    assert finished.exit_code == 2
    assert "reduce-32-c8" in finished.output


def test_scenarios_cover_what_the_project_promises_to_measure() -> None:
    reduces = {(s.rows, s.connections) for s in SCENARIOS if s.verb == "reduce"}
    assert reduces == {(rows, c) for rows in (1, 32, 256) for c in (1, 8, 64)}
    assert {s.rows for s in SCENARIOS if s.verb == "train-step"} == {32, 256}
    ways = [way for comparison in COMPARISONS for _, way in comparison.ways]
    assert {w.connections for w in ways if isinstance(w, Posts) and w.server == VOLATILE} == {1, 8}
    assert {w.waiting for w in ways if isinstance(w, Bursts)} == {1, 4, 16}
    assert {(w.rows, w.trained) for w in ways if isinstance(w, Reads)} >= {
        (rows, trained) for rows in (1, 32) for trained in ("", OURS)
    }
    assert {Replays(), Frames(OURS)} <= set(ways)
    names = [one.name for one in (*SCENARIOS, *COMPARISONS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("over", "under", "expected"),
    [
        ([30.0], [10.0], "3.0"),
        ([30.0, 10.0, 20.0], [10.0, 10.0, 10.0], "**2.0** (1.0 to 3.0)"),
        ([float("nan")], [10.0], "-"),
    ],
)
def test_ratio_is_the_median_of_the_rounds_with_their_spread(
    over: list[float], under: list[float], expected: str
) -> None:
    assert ratio(over, under) == expected


def test_report_divides_by_the_right_contender() -> None:
    samples = {
        ("slimvec", SAFETENSORS): [sample(600, p50_ms=3.0)],
        ("echo", SAFETENSORS): [sample(1000)],
        (NAIVE, JSON): [sample(50)],
        (NAIVE_DEF, JSON): [sample(25)],
        (IN_PROCESS, ""): [sample(1, p50_ms=2.0)],
    }
    scenario = Scenario("train-step", 32, 1, media_types=(SAFETENSORS,))
    report = render({scenario: samples}, rounds=1, seconds=1.0)
    assert (
        "| train-step-32-c1 | safetensors | 600 | 3.00 | 2.00 | 12.0 | 1.0 | 24.0 | 60 |" in report
    )
    assert "| train-step-32-c1 | safetensors | 3.00 | 2.00 | 1.50 |" in report


@pytest.mark.parametrize(
    ("head", "expected"),
    [(b"HTTP/1.1 200 OK\r\ncontent-length: 12", 12), (b"HTTP/1.1 200 OK\r\nContent-Length:0", 0)],
)
def test_load_reads_the_length_of_an_answer(head: bytes, expected: int) -> None:
    assert body_length(head) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxx",
        b"",
    ],
)
def test_load_fails_on_anything_but_whole_answers_with_status_200(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        asyncio.run(load_of_a_server_that_answers(answer))


def test_load_counts_answers_that_come_in_pieces() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 4\r\n\r", b"\nab", b"cd"):
            writer.write(piece)
            await writer.drain()

    load = asyncio.run(drive_against(answer))
    assert load.answered >= 4
    assert 0 < load.p50_ms <= load.p99_ms


async def load_of_a_server_that_answers(answer: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not answer:
            writer.close()

    await drive_against(write)


async def drive_against(answer: Answer) -> Load:
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing() and await reader.readexactly(len(REQUEST)):
                await answer(writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            return await drive(port, REQUEST, connections=2, seconds=0.02)
        finally:
            await asyncio.gather(*filter(None, serving))


@dataclass
class Fake:
    """Answers every call alike."""

    answer: bytes
    name: str = "fake"

    def send(self, call: Call) -> bytes:
        return self.answer


@pytest.mark.parametrize("spoil", [lambda product: product + 1e-3, lambda product: product[0]])
def test_another_product_than_numpys_is_refused(spoil: Callable[[FloatArray], FloatArray]) -> None:
    product = batch(1, with_targets=False)["hidden_states"] @ weights().T
    verify_reduce(Fake(save({"reduced": product})), 1, SAFETENSORS)
    with pytest.raises(ContenderFailed, match="fake: reduce of 1 rows"):
        verify_reduce(Fake(save({"reduced": spoil(product)})), 1, SAFETENSORS)


def test_another_loss_than_a_plain_loops_is_refused() -> None:
    first = Learner(TRAIN_ROWS).step()
    with pytest.raises(ContenderFailed, match="loss of train step 2"):
        verify_training(Fake(orjson.dumps({"loss": first})), JSON)


def test_gpu_programme_without_cuda_says_that_nothing_was_measured() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    finished = CliRunner().invoke(gpu)
    assert (finished.exit_code, finished.output.split(":")[0]) == (0, "Nothing was measured")


def test_gpu_programme_measures_each_work_and_prints_ratios_and_bandwidths() -> None:
    cpu = torch.device("cpu")
    timings = measure(cpu, rows=(2,), repeats=1)
    assert [t.what for t in timings] == [
        "reduce, 2 rows",
        "reduce, ordinary memory, 2 rows",
        "reduce, 2 requests, 2 rows",
        "product on the device, 2 rows",
        "train step, 2 rows",
        "plain step, 2 rows",
    ]


def test_gpu_report_compares_devices_and_says_how_much_of_a_reduce_is_copying() -> None:
    cpu = [Timing("reduce, 1000 rows", 0.02, rows=1000), Timing("train step", 0.01, rows=1000)]
    cuda = [replace(timing, seconds=timing.seconds / 2) for timing in cpu]
    copies = [Timing(f"copy {to}, pinned", 0.001, num_bytes=1_000_000) for to in ("to", "from")]
    lines = table(cpu, cuda, copies).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:4]] == ["2.00 |"] * 2
    assert lines[7] == "| copy to, pinned | 1.0 | 1,000.0 |"
    # 1000 rows of 768 + 128 numbers at 1 GB/s
    assert lines[-1] == "| reduce, 1000 rows | 10,000.0 | 3,584.0 | 36% |"
