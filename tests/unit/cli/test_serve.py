"""Failpoints need the hidden flag: a variable alone must never harm a server."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from app.cli import main
from tests.e2e.process import plain_environment

# Prints which points are armed when `slimvec serve` has failed over its port.
_ARMED = """
import sys
from app import failpoints
from app.cli import main

try:
    main(sys.argv[1:])
finally:
    print(*failpoints._armed)
"""


def serve(*flags: str, failpoints: str) -> subprocess.CompletedProcess[str]:
    """`slimvec serve` that ends before it serves, since its port is none."""
    return subprocess.run(
        [sys.executable, "-c", _ARMED, "serve", "--port", "none", *flags],
        env=plain_environment() | {"SLIMVEC_FAILPOINTS": failpoints},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_variable_alone_arms_nothing() -> None:
    ended = serve(failpoints="queue.put=kill")
    assert (ended.returncode, ended.stdout) == (2, "\n")
    assert "--port" in ended.stderr
    assert "FAILPOINTS" not in serve(failpoints="nonsense").stderr


def test_the_flag_arms_what_the_variable_says() -> None:
    ended = serve("--with-failpoints", failpoints="queue.put=kill,parse.done=delay:3")
    assert (ended.returncode, ended.stdout) == (2, "queue.put parse.done\n")


def test_a_failpoint_that_is_none_is_refused_by_name() -> None:
    ended = serve("--with-failpoints", failpoints="nowhere=kill")
    assert ended.returncode == 2
    assert "SLIMVEC_FAILPOINTS" in ended.stderr
    assert "'nowhere' can do nothing: no such point" in ended.stderr


def test_the_flag_is_hidden() -> None:
    assert "failpoints" not in CliRunner().invoke(main, ["serve", "--help"]).output
