"""Comparisons, shares and the stream's load generator work; no timing is asserted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.types import JournalRow, Position
from benchmarks.comparisons import COMPARISONS, P99, STEPS, Comparison, Posts
from benchmarks.contenders import DETERMINISTIC, OURS, VOLATILE
from benchmarks.durable import replay_sample, train_sample
from benchmarks.engine import turns_sample
from benchmarks.load import BadAnswer
from benchmarks.report import render
from benchmarks.rounds import Sample, run
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers.volatile import VolatileJournal
from benchmarks.shares import COMMIT, PARTS, PARTS_OF_COMMIT, WHOLE, profiled, table
from benchmarks.stream_load import Acknowledgements


def sample(rate: float, p50_ms: float = 1.0) -> Sample:
    return Sample(rate, p50_ms, 2.0, 100.0, 0.1)


def test_report_divides_each_way_by_the_first_one() -> None:
    ways = (("plain", Posts(OURS, 1)), ("better", Posts(OURS, 8)))
    samples = {("plain", ""): [sample(100)], ("better", ""): [sample(300, p50_ms=3.0)]}
    report = render(
        {Comparison("both", (STEPS, P99), ways): samples}, rounds=1, seconds=1.0
    ).splitlines()
    assert report[-4] == "| both | plain | 100 | steps/s | 1 | 100 |"
    assert report[-3] == "| both | better | 300 | steps/s | 3.00 | 100 |"
    assert report[-1] == "| both | better | 2.00 | p99 ms | 1.00 | 100 |"


def test_rounds_go_through_the_lanes_forwards_then_backwards() -> None:
    scenario = SCENARIOS[0]
    seen: list[str] = []

    def lane(name: str) -> Callable[[float], Sample]:
        def measure(seconds: float) -> Sample:
            seen.append(name)
            return sample(seconds)

        return measure

    plan = {scenario: {(name, ""): lane(name) for name in "ab"}}
    results = run(plan, rounds=2, seconds=5.0, tell=lambda _: None)
    assert seen == ["a", "b", "b", "a"]
    assert results == {scenario: {("a", ""): [sample(5.0)] * 2, ("b", ""): [sample(5.0)] * 2}}


def test_comparison_knows_which_servers_it_needs() -> None:
    needed = {comparison.name: comparison.servers for comparison in COMPARISONS}
    assert needed["durable-c8"] == {OURS, VOLATILE}
    assert needed["reader-32"] == {OURS, VOLATILE}
    assert needed["beside-large"] == needed["rows"] == {OURS}
    assert needed["deterministic-1"] == {OURS, DETERMINISTIC}
    assert needed["stream"] == {OURS}
    assert needed["recovery"] == set()


def test_volatile_journal_counts_rows_and_keeps_none() -> None:
    journal = VolatileJournal(Position(4, 7))
    journal.append([stored_row(5), stored_row(6)])
    assert (journal.position, journal.rotate(9)) == (Position(6, 0), Position(6, 0))
    assert vars(journal) == {"position": Position(6, 0)}


def stored_row(seq: int) -> JournalRow:
    texts = dict.fromkeys(("at", "key_hash", "fingerprint", "state_digest"), "")
    return JournalRow(
        seq=seq, version=seq + 1, kind="step", clock_s=0.0, payload=b"", answer=b"", **texts
    )


def test_replay_repeats_every_step_that_was_trained(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    trained = train_sample(tmp_path, 2, waiting=4, seconds=0.008)
    replayed = replay_sample(tmp_path, 2, seconds=0.05)  # it asserts their number itself
    torch.set_num_threads(threads)  # the engine sets it for its process
    assert trained.requests_per_s > 0
    assert replayed.requests_per_s > 0
    assert list(tmp_path.iterdir()) == []


def test_shares_of_a_durable_step_add_up(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    stats = profiled(tmp_path, steps=8, waiting=2)
    torch.set_num_threads(threads)
    for whole, parts in ((WHOLE, PARTS), (COMMIT, PARTS_OF_COMMIT)):
        shares = re.findall(r"\| (-?\d+)% \|", table(stats, whole, parts))
        assert len(shares) == len(parts) + 1
        assert all(0 <= int(share) <= 100 for share in shares)


def test_stream_load_counts_what_is_acknowledged_after_the_warm_up() -> None:
    seen = Acknowledgements(seconds=0.0)
    for line in (b"HTTP/1.1 200 OK\r\n", b"\r\n", b'{"ack":3,"version":4}\n', b'{"ack":9}\n'):
        seen.note(line)
    assert seen.newest == 9
    assert seen.load is not None
    assert seen.load.requests_per_s > 0


def test_stream_load_fails_on_a_refused_record() -> None:
    with pytest.raises(BadAnswer, match="canary"):
        Acknowledgements(seconds=1.0).note(b'{"record":2,"error":{"reason":"canary"}}\n')


@pytest.mark.parametrize("waiting", [1, 8])
def test_turns_of_the_loop_are_measured_without_a_server(waiting: int) -> None:
    measured = turns_sample(1, waiting, 0.01)
    assert measured.requests_per_s > 0
    assert measured.cpu_us > 0
