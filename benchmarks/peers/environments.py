"""The environments of the peers: made on first use, so that none disturbs another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.contenders import ROOT, ContenderFailed

_HERE = Path(__file__).parent
_HOME = ROOT / ".venv-peers"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, with what its `requirements.txt` pins.

    Raises:
        ContenderFailed: it cannot be installed here.
    """
    environment, wanted = _HOME / peer, (_HERE / peer / "requirements.txt").read_text()
    python, installed = environment / "bin" / "python", environment / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(environment, ignore_errors=True)
        _run(peer, [sys.executable, "-m", "venv", str(environment)])
        requirements = str(_HERE / peer / "requirements.txt")
        _run(peer, [str(python), "-m", "pip", "install", "--quiet", "-r", requirements])
        _copy_site(peer, environment)
        installed.write_text(wanted)
    return python


def _copy_site(peer: str, environment: Path) -> None:
    """What a peer needs beside its packages to run at all."""
    (site,) = environment.glob("lib/python*/site-packages")
    for file in (_HERE / peer / "site").glob("*.py"):
        shutil.copy(file, site)


def _run(peer: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContenderFailed(f"{peer} cannot be installed:\n{done.stderr[-1000:]}")
