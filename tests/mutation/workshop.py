"""A private copy of the tree, in which bugs are seeded and the tests are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.bug import Bug

_NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".hypothesis", ".*_cache", "__pycache__", "*.egg-info", "build")
)
_LONGEST_TEST_S = 120
_LONGEST_RUN_S = 600
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)
_PASSED = re.compile(r"\b[1-9][0-9]* passed\b")


@dataclass(frozen=True, slots=True)
class Run:
    """What came of some tests.

    Attributes:
        code: pytest's exit code, or minus the signal that ended it.
        failed: node ids, in order.
        is_any_passed: whether a test ran and passed.
        text: all that was printed.
    """

    code: int
    failed: Sequence[str]
    is_any_passed: bool
    text: str


class Workshop:
    """One copy of a tree; nothing that happens in it touches the tree itself.

    Args:
        tree: what is copied.
        folder: where to; not there yet.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self._tree = folder / "tree"
        self._scratch = folder / "scratch"
        shutil.copytree(tree, self._tree, symlinks=True, ignore=_NOT_COPIED)
        self._scratch.mkdir()

    @contextmanager
    def seeded(self, bug: Bug) -> Iterator[bool]:
        """The copy with the bug in it, for the time of the body; yields whether it applied."""
        if not self._apply(bug):
            yield False
            return
        try:
            yield True
        finally:
            assert self._apply(bug, "--reverse"), "what was applied can be taken back"

    def run(self, tests: Sequence[str], *options: str) -> Run:
        """Run tests in the copy, whose modules come first, with the interpreter that runs this."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", f"--timeout={_LONGEST_TEST_S}"]
        environment = {
            # A bug that comes within a second of another of the same length would not be compiled.
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self._scratch),
        }
        process = subprocess.Popen(
            [*command, *options, *tests],
            cwd=self._tree,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            text, _ = process.communicate(timeout=_LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the servers that the tests started
            text, _ = process.communicate()
        return Run(process.returncode, _FAILED.findall(text), bool(_PASSED.search(text)), text)

    def _apply(self, bug: Bug, *options: str) -> bool:
        """Whether all of the patch fitted; otherwise nothing was changed."""
        command = ["git", "apply", *options, str(bug.patch.absolute())]
        # Inside a repository, git would take the paths for that one's.
        outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self._tree.parent.resolve())}
        done = subprocess.run(command, cwd=self._tree, env=outside, capture_output=True)
        return done.returncode == 0
