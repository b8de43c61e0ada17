"""All 110 rows of the catalogue are somewhere: in its tables, or in a test that names its row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.security.catalogue import ROWS, framing

_ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"_rows?_((?:\d+(?:_and_|_to_)?)+)")

# Rows whose tests are older than the table, or say something of more than one row.
ELSEWHERE: Mapping[int, str] = {
    75: "tests/unit/training/test_poison.py",
    76: "tests/unit/training/test_poison.py",
    85: "tests/unit/engine/test_worker.py::test_a_full_queue_refuses_and_keeps_what_it_accepted",
    86: "tests/crash/test_drain.py",
    87: "tests/crash/test_full_disk.py",
    88: "tests/unit/engine/test_worker.py::test_memory_that_cannot_be_had_is_said_as_such",
    108: "tests/unit/exchange/test_state_dict.py::"
    "test_a_file_that_is_no_plain_state_dict_is_refused_and_runs_nothing",
}


def test_every_row_of_the_catalogue_is_here() -> None:
    in_tables = {row.number for row in ROWS} | {row.number for row in framing.rows()}
    assert in_tables | set(_named_by_tests()) | ELSEWHERE.keys() == set(range(1, 111))


def test_what_is_elsewhere_is_there() -> None:
    for place in ELSEWHERE.values():
        file, _, name = place.partition("::")
        assert name in {*_tests_of(_ROOT / file), ""}, place


def test_the_numbers_are_read_from_the_names_of_tests() -> None:
    assert list(_numbers("test_row_7_x")) == [7]
    assert list(_numbers("test_rows_10_and_11_a")) == [10, 11]
    assert list(_numbers("test_rows_3_to_5_a")) == [3, 4, 5]
    assert not list(_numbers("test_rows_of_8_numbers"))


def _named_by_tests() -> Iterator[int]:
    for folder in ("security", "contract"):
        for path in (_ROOT / "tests" / folder).glob("test_*.py"):
            for name in _tests_of(path):
                yield from _numbers(name)


def _tests_of(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name


def _numbers(name: str) -> Iterator[int]:
    for found in _NAMED.findall(name):
        first, *others = map(int, re.findall(r"\d+", found))
        if "_to_" in found:
            yield from range(first, others[-1] + 1)
        else:
            yield from (first, *others)
