"""The gate itself: a bug that is seen, one that is not, and all that is no proof."""

from __future__ import annotations

from pathlib import Path
from subprocess import run

import pytest

from tests.mutation.__main__ import main
from tests.mutation.bug import PATCHES, read_bugs

# Named like the installed package, which must not be what is tested.
PRODUCT = "def price(count: int) -> int:\n    return count * 3\n"
TESTS = {
    "test_price.py": "from app import price\n\n\ndef test_two():\n    assert price(2) == 6\n",
    "test_other.py": "def test_other():\n    pass\n",
    "test_never.py": "import pytest\n\n\n@pytest.mark.skip\ndef test_never():\n    pass\n",
}
OLD = "    return count * 3"
# The line that goes, the one that comes, the test to run, what is found.
BUGS = {
    "seen": (OLD, "    return count * 2", "test_price.py", "`test_price.py::test_two`"),
    "no bug": (OLD, "    return 3 * count", "test_price.py", "**SURVIVED**"),
    "not looked at": (OLD, "    return count * 2", "test_other.py", "**SURVIVED**"),
    "skipped": (OLD, "    return count * 2", "test_never.py", "**UNTESTED"),
    "no Python": (OLD, "    return count *", "test_price.py", "**UNTESTED"),
    "outdated": ("    return number * 3", OLD, "test_price.py", "**STALE"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository, with the patches beside it."""
    (tmp_path / "tree").mkdir()
    for name, content in {**TESTS, "app.py": PRODUCT, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / "tree" / name).write_text(content)
    (tmp_path / "patches").mkdir()
    for name, (old, new, test, _) in BUGS.items():
        (tmp_path / "patches" / f"{name}.patch").write_text(
            f"Breaks: Three each.\nTest: {test}\n\n--- a/app.py\n+++ b/app.py\n@@ -1,2 +1,2 @@\n"
            f" def price(count: int) -> int:\n-{old}\n+{new}\n"
        )
    return tmp_path / "tree"


def test_only_a_bug_that_a_test_sees_is_caught(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tree=tree, patches=tree.with_name("patches")) == 1
    printed = capsys.readouterr().out
    for name, (*_, found) in BUGS.items():
        assert f"| {name} | Three each. | {found}" in printed
    assert "1 of 6 seeded bugs caught" in printed
    assert (tree / "app.py").read_text() == PRODUCT


def test_the_gate_opens_when_all_are_caught(tree: Path) -> None:
    assert main(["seen"], tree=tree, patches=tree.with_name("patches")) == 0


def test_tests_that_fail_without_a_bug_prove_nothing(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "app.py").write_text(PRODUCT.replace("3", "4"))
    assert main(["seen"], tree=tree, patches=tree.with_name("patches")) == 1
    said = "These fail without any seeded bug:\ntest_price.py::test_two\n"
    assert capsys.readouterr().out == said


def test_every_patch_is_in_the_table_of_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    shown = {row[0]: row[1] for row in rows}
    assert {bug.name: bug.breaks for bug in read_bugs(PATCHES)}.items() <= shown.items()


def test_every_bug_can_still_be_seeded() -> None:
    tree = PATCHES.parents[2]
    stale = [
        patch.name
        for patch in sorted(PATCHES.glob("*.patch"))
        if run(["git", "apply", "--check", str(patch)], cwd=tree, capture_output=True).returncode
    ]
    assert stale == []
