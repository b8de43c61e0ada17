"""A real `slimvec serve` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from types import TracebackType

import httpx

_URL = re.compile(r"http://[^ ]+")
_START_TIMEOUT_S = 90
_STOP_TIMEOUT_S = 40


class ServerProcess:
    """`slimvec serve` on a free port; ready when the `with` block begins.

    Args:
        models_dir: the model repository, always a copy.
        flags: further flags of `slimvec serve`.
        module: what is run as `slimvec`.
        python: which interpreter runs it; none: this one.
    """

    def __init__(
        self, models_dir: Path, *flags: str, module: str = "app", python: Path | None = None
    ) -> None:
        self._command = ["serve", "--port", "0", "--models-dir", str(models_dir), *flags]
        self._module = module
        self._python = python
        self.log: list[str] = []

    def __enter__(self) -> ServerProcess:
        self.process = start(*self._command, module=self._module, python=self._python)
        self.banner = self._read_banner()
        # A full pipe would stop the server.
        self._rest = Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True)
        self._rest.start()
        self.client = httpx.Client(base_url=_URL.findall(self.banner)[0], timeout=30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self._end()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; the exit code, or minus the signal that killed it."""
        self.process.send_signal(number)
        self._end()
        return self.process.returncode

    def _end(self) -> None:
        self.process.wait(_STOP_TIMEOUT_S)
        self._rest.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read_banner(self) -> str:
        """Everything on stderr up to the banner's last line (the process ends on failure)."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "  models " in line:
                return "".join(self.log)
        raise AssertionError(f"the server did not become ready:\n{''.join(self.log)}")


def start(
    *arguments: str, module: str = "app", python: Path | None = None
) -> subprocess.Popen[str]:
    """`slimvec …`, its standard error in a pipe."""
    return subprocess.Popen(
        [python or sys.executable, "-m", module, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment(),
    )


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`slimvec …` until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        capture_output=True,
        text=True,
        timeout=_START_TIMEOUT_S,
        env=plain_environment(),
        check=False,
    )


def plain_environment() -> dict[str, str]:
    """This process's environment without any setting of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLIMVEC_")}
