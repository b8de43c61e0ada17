"""Statement 12: damage is noticed, wherever it is, and what is read is never wrong."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from itertools import combinations, permutations
from pathlib import Path

import pytest

from tests.crash.damage import (
    FRAME,
    MARK,
    PAGE,
    Victim,
    build,
    flipped,
    kept_aside,
    overwritten,
    truncated,
)
from tests.crash.scale import report, scaled

SQLITE = (".sqlite3", "-wal")
EVERY = (*SQLITE, MARK)


@pytest.fixture(params=[False, True], ids=["rows in the WAL", "rows in the database"])
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Victim]:
    victim = build(tmp_path / "models", is_merged=request.param)
    assert not victim.judge()
    yield victim
    # Each damage was taken back: otherwise the next would have been judged by the one before.
    assert not victim.judge()


def borders(path: Path) -> list[int]:
    """Where pages, or the frames of a WAL, begin and end."""
    start, step = (32, FRAME) if path.name.endswith("-wal") else (0, PAGE)
    return list(range(start, path.stat().st_size, step))


def cases(every: list[tuple[Path, int]], small: int) -> list[tuple[Path, int]]:
    """All of them in full, an evenly spread part in `make test`."""
    return every[:: max(1, len(every) // scaled(small=small, full=len(every)))]


def test_a_file_cut_at_every_page_border(victim: Victim) -> None:
    every = [(path, length) for path in victim.files(*SQLITE) for length in borders(path)]
    chosen = cases(every, small=20)
    num_noticed = 0
    for path, length in chosen:
        with truncated(path, length):
            num_noticed += victim.judge()
    report(f"cut at {len(chosen)} page borders, {num_noticed} times refused")
    assert num_noticed > len(chosen) // 2  # what a WAL holds anew is not missed in the database


def test_a_file_cut_anywhere(victim: Victim) -> None:
    choose = random.Random(1)
    num_trials, num_noticed = scaled(small=40, full=2000), 0
    for _ in range(num_trials):
        path = choose.choice(victim.files(*SQLITE))
        with truncated(path, choose.randrange(path.stat().st_size)):
            num_noticed += victim.judge()
    report(f"cut at {num_trials} random bytes, {num_noticed} times refused")
    # A cut behind the last byte that is used changes nothing.
    assert num_noticed > num_trials // 2


@pytest.mark.parametrize("num_bits", [1, 16])
def test_flipped_bits(victim: Victim, num_bits: int) -> None:
    choose = random.Random(2)
    num_trials, num_noticed = scaled(small=150, full=6000), 0
    for _ in range(num_trials):
        path = choose.choice(victim.files(*SQLITE))
        bits = {_bit(choose, path) for _ in range(num_bits)}
        with flipped(path, *bits):
            num_noticed += victim.judge()
    report(f"{num_trials} times {num_bits} flipped bits, {num_noticed} times refused")
    assert num_noticed > num_trials // 4  # much of a page is not in use


def _bit(choose: random.Random, path: Path) -> int:
    """Any bit, or one near a page's border, where its structure is."""
    anywhere = choose.randrange(path.stat().st_size)
    near = choose.choice(borders(path)) + choose.randrange(-200, 300)
    at = anywhere if choose.random() < 0.5 else min(max(near, 0), path.stat().st_size - 1)
    return at * 8 + choose.randrange(8)


@pytest.mark.parametrize("content", [0, 255], ids=["zeros", "ones"])
def test_an_overwritten_page(victim: Victim, content: int) -> None:
    every = [(path, start) for path in victim.files(*SQLITE) for start in borders(path)]
    chosen = cases(every, small=15)
    num_noticed = 0
    for path, start in chosen:
        with overwritten(path, start, bytes([content]) * PAGE):
            num_noticed += victim.judge()
    report(f"{len(chosen)} pages overwritten, {num_noticed} times refused")
    assert num_noticed > len(chosen) // 2


def test_a_damaged_mark_alone_loses_nothing(victim: Victim) -> None:
    (mark,) = victim.files(MARK)
    size = mark.stat().st_size
    for bit in range(0, size * 8, scaled(small=5, full=1)):
        with flipped(mark, bit):
            assert not victim.judge()
    for length in range(size):
        with truncated(mark, length):
            assert not victim.judge()


def test_deleted_files(victim: Victim) -> None:
    files = victim.files(*EVERY)
    for number in (1, 2):
        for chosen in combinations(files, number):
            with kept_aside(victim.folder):
                for path in chosen:
                    path.unlink()
                # The last file with its mark is as if it had never been: two faults at once.
                if not _is_last_with_mark(chosen, files):
                    assert victim.judge() == (chosen != (victim.folder / MARK,))


def _is_last_with_mark(chosen: tuple[Path, ...], files: list[Path]) -> bool:
    last = max(path.name for path in files if path.name.startswith("journal-16"))
    return len(chosen) == 2 and {path.name for path in chosen} <= {MARK, last, last[:-4]}


def test_swapped_files(victim: Victim) -> None:
    for suffixes in (SQLITE, *((suffix,) for suffix in SQLITE)):
        files = victim.files(*suffixes)
        for one, other in permutations(files, 2):
            if one.suffix == other.suffix and one < other:
                with kept_aside(victim.folder):
                    _swap(one, other)
                    assert victim.judge()


def _swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_files_of_another_model(victim: Victim, tmp_path: Path) -> None:
    other = build(tmp_path / "others", is_merged=victim.is_merged, model="other", seed=8)
    for number in (1, 2, 3):
        for chosen in combinations(victim.files(*SQLITE), number):
            with kept_aside(victim.folder):
                for path in chosen:
                    shutil.copy(other.folder / path.name, path)
                assert victim.judge()


def test_later_files_of_an_earlier_life_of_the_model(victim: Victim, tmp_path: Path) -> None:
    # Not the first file: what begins at row 1 has nothing before it to be compared with, and its
    # state digests are what tells.
    earlier = build(tmp_path / "others", is_merged=victim.is_merged, seed=8)
    for path in victim.files(*SQLITE):
        if not path.name.startswith("journal-1."):
            with kept_aside(victim.folder):
                shutil.copy(earlier.folder / path.name, path)
                assert victim.judge()
