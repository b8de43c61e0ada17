from __future__ import annotations

from pathlib import Path

import pytest

from app.storage import Repository
from app.storage.retention import Kept, surplus
from app.types import Retention
from tests.unit.storage.examples import version_files

NONE: frozenset[int] = frozenset()


def bounds(checkpoints: int = 100, num_bytes: int = 1 << 40, age_s: float = 1e9) -> Retention:
    return Retention(checkpoints=checkpoints, num_bytes=num_bytes, age_s=age_s)


def kept(*clocks: float, origin: str = "checkpoint") -> list[Kept]:
    """Versions 1, 2, … of 10 bytes each, taken when the model had been served for so long."""
    return [
        Kept(number, 10, {"origin": origin, "clock_s": clock})
        for number, clock in enumerate(clocks, start=1)
    ]


CASES: dict[str, tuple[Retention, frozenset[int], list[int]]] = {
    "no bound": (bounds(), NONE, []),
    "count": (bounds(checkpoints=3), NONE, [1, 2]),
    "count below two": (bounds(checkpoints=0), NONE, [1, 2, 3]),
    "bytes": (bounds(num_bytes=30), NONE, [1, 2]),
    "bytes just enough": (bounds(num_bytes=50), NONE, []),
    "bytes below two": (bounds(num_bytes=0), NONE, [1, 2, 3]),
    "age": (bounds(age_s=2.5), NONE, [1, 2]),
    "age below two": (bounds(age_s=0), NONE, [1, 2, 3]),
    "the strictest of several": (bounds(checkpoints=4, num_bytes=40, age_s=1.5), NONE, [1, 2, 3]),
    "protected": (bounds(checkpoints=2), frozenset({2}), [1, 3]),
    "a protected one leaves its bytes to others": (
        bounds(num_bytes=40),
        frozenset({1}),
        [2],
    ),
}


@pytest.mark.parametrize(("retention", "protected", "expected"), CASES.values(), ids=CASES)
def test_the_oldest_beyond_any_bound_go(
    retention: Retention, protected: frozenset[int], expected: list[int]
) -> None:
    assert surplus(kept(1, 2, 3, 4, 5), retention, protected) == expected


def test_age_is_that_of_serving_and_a_state_without_it_is_young() -> None:
    versions = [Kept(number, 1, {"origin": "checkpoint"}) for number in (1, 2, 3)]
    assert surplus(versions, bounds(age_s=0), NONE) == []
    assert surplus(kept(9, 9, 0, 0), bounds(age_s=5), NONE) == []


@pytest.mark.parametrize("origin", ["initial", "import"])
def test_versions_that_are_no_checkpoints_stay_but_their_bytes_count(origin: str) -> None:
    versions = kept(1, 2, origin=origin) + [
        Kept(number, 10, {"origin": "checkpoint"}) for number in (3, 4, 5)
    ]
    assert surplus(versions, bounds(checkpoints=2, num_bytes=0), NONE) == [3]


@pytest.mark.parametrize("bound", [bounds(num_bytes=1), bounds(age_s=1.5)], ids=["bytes", "age"])
def test_the_bounds_hold_on_disk(tmp_path: Path, bound: Retention) -> None:
    repository = Repository(tmp_path)
    for number in (1, 2, 3, 4):
        repository.write("news", number, version_files(number, clock_s=float(number)))
    assert repository.retain("news", bound) == [1, 2]


def test_a_protected_version_stays_on_disk(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for number in (1, 2, 3, 4):
        repository.write("news", number, version_files(number))
    assert repository.retain("news", bounds(2), protected=frozenset({1, 99})) == [2]
    assert repository.versions("news") == [1, 3, 4]
