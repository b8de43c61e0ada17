"""Lay another virtual environment over this one: what is here is there, what is there comes first.

.venv/bin/python tests/interop/environment.py .venv-interop/bin/python
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

_WHERE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def main(python: str) -> None:
    """Let the environment of that interpreter see the packages of this one."""
    told = subprocess.run([python, "-c", _WHERE], capture_output=True, text=True, check=True)
    here = sysconfig.get_path("purelib")
    # Not a bare path: the packages here may have files of paths of their own.
    line = f"import site; site.addsitedir({here!r})\n"
    Path(told.stdout.strip(), "project.pth").write_text(line, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
