"""Nothing depends on the wall clock but timestamps that are shown, and the end of an API key."""

from __future__ import annotations

import ast
from pathlib import Path

APP = Path(__file__).parents[2] / "app"

# Seconds that only grow; all else in these two modules is, or may be, the clock on the wall.
_CLOCKS, _STEADY = {"time", "datetime"}, {"monotonic", "perf_counter", "sleep", "thread_time"}
# When a row, a checkpoint and an API key were made, a model was last asked, its quality taken: told
# to clients.
_SHOWN = {
    "access/keys_file.py",
    "api/inference/statistics.py",
    "api/openai/models.py",
    "service/quality_watch.py",
    "service/rows.py",
    "service/version_files.py",
}
# An API key ends on a date.
_DATED = {"access/key_ring.py", "cli/keys.py"}


def clock_names(path: Path) -> set[str]:
    """What a module takes from the clocks, by whatever form of import."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imports = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module in _CLOCKS]
    attributes = [n for n in nodes if isinstance(n, ast.Attribute)]
    return {alias.name for node in imports for alias in node.names} | {
        n.attr for n in attributes if isinstance(n.value, ast.Name) and n.value.id in _CLOCKS
    }


def test_only_shown_timestamps_come_from_the_wall_clock() -> None:
    found = {str(p.relative_to(APP)) for p in APP.rglob("*.py") if clock_names(p) - _STEADY}
    assert found == _SHOWN | _DATED
