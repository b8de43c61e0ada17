"""The judge of the soak on series whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tests.soak.judge import MIN_SAMPLES, Sample, judge, settle

Level = Callable[[int], float]

_MAX_DISK = 10_000_000
_BASE = 300_000_000
_NUM_SAMPLES = 120
_REQUESTS_A_SAMPLE = 400
_noise = np.random.default_rng(7).normal(0.0, 1_000_000, _NUM_SAMPLES)


def _flat(_: int) -> float:
    return 0


def _noisy(k: int) -> float:
    return float(_noise[k])


def _sawtooth(k: int) -> float:
    return 6_000_000 * (k % 12) / 12


def _warming(k: int) -> float:
    return 40_000_000 * (1 - 0.88**k)


def _peaks(k: int) -> float:
    return 64_000_000 if k % 17 == 0 else 0


def _returning(k: int) -> float:
    return 30_000_000 - 50_000 * k


def _leaking(k: int) -> float:
    return 1024 * _REQUESTS_A_SAMPLE * k


def _noisy_leaking(k: int) -> float:
    return _leaking(k) + _sawtooth(k) + _peaks(k)


def _late_leaking(k: int) -> float:
    return max(0.0, _leaking(k - 40))


@pytest.mark.parametrize(
    "memory", [_flat, _noisy, _sawtooth, _warming, _peaks, _returning], ids=lambda f: f.__name__
)
def test_memory_that_stays_is_flat(memory: Level) -> None:
    assert not _faults(memory=memory)


@pytest.mark.parametrize(
    "memory", [_leaking, _noisy_leaking, _late_leaking], ids=lambda f: f.__name__
)
def test_memory_that_grows_with_requests_is_caught(memory: Level) -> None:
    assert _faults(memory=memory) == {"memory"}


@pytest.mark.parametrize("name", ["descriptors", "threads"])
def test_what_rises_slowly_is_caught(name: str) -> None:
    assert _faults(**{name: lambda k: k // 20}) == {name}


@pytest.mark.parametrize("name", ["descriptors", "threads"])
def test_what_comes_and_goes_is_flat(name: str) -> None:
    assert not _faults(**{name: lambda k: k % 4})


def test_one_peak_of_the_disk_is_caught() -> None:
    assert _faults(disk=lambda k: _MAX_DISK + 1 if k == 90 else 0) == {"disk"}


def test_the_warm_up_is_not_judged() -> None:
    samples = _run()
    settled = settle(samples)
    assert 0.6 < len(settled) / len(samples) < 0.75
    assert all(before.requests < after.requests for before, after in pairwise(settled))


def test_a_run_that_is_too_short_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="run longer"):
        judge(_run()[: MIN_SAMPLES - 1], max_disk_bytes=_MAX_DISK)


def _faults(**levels: Level) -> set[str]:
    verdicts = judge(_run(**levels), max_disk_bytes=_MAX_DISK)
    assert [verdict.name for verdict in verdicts] == ["memory", "descriptors", "threads", "disk"]
    return {verdict.name for verdict in verdicts if not verdict.is_met}


def _run(
    memory: Level = _flat,
    descriptors: Level = _flat,
    threads: Level = _flat,
    disk: Level = _flat,
) -> list[Sample]:
    return [
        Sample(
            elapsed_s=2.0 * k,
            requests=_REQUESTS_A_SAMPLE * k,
            memory_bytes=int(_BASE + memory(k)),
            descriptors=30 + int(descriptors(k)),
            threads=20 + int(threads(k)),
            disk_bytes=int(disk(k)),
        )
        for k in range(_NUM_SAMPLES)
    ]
