"""The rig's side of the fork server: servers that start fast and may be killed at any time."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

from tests.e2e.process import plain_environment

_ROOT = Path(__file__).parents[2]
_URL = re.compile(r"http://([0-9.]+):([0-9]+)")
_START_S = 120.0
_END_S = 60.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ForkServer:
    """A process that has imported everything; forks servers, and waits for their end."""

    def __enter__(self) -> ForkServer:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking = Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.forkserver", str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                env={**plain_environment(), **_ONE_THREAD},
            )
        if not self._control.recv(65_536):
            raise AssertionError("the fork server ended while it imported the app")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._control.close()
        self._process.wait(_END_S)

    def ask(self, order: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, int]:
        """Send one order with descriptors; the answer."""
        with self._asking:
            socket.send_fds(self._control, [json.dumps(order).encode()], list(descriptors))
            answer: dict[str, int] = json.loads(self._control.recv(65_536))
        return answer


class Served:
    """One forked `slimvec serve` on a free port.

    Args:
        forks: where it is forked.
        models_dir: the model repository, always a copy.
        flags: further flags of `slimvec serve`.
        before: names of what is done to the process before it starts (see forkserver).
        environment: variables of its own.
        is_held: wait for `release` before anything else, so that a tracer can attach.
    """

    def __init__(
        self,
        forks: ForkServer,
        models_dir: Path,
        flags: Sequence[str] = (),
        *,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        is_held: bool = False,
    ) -> None:
        self._forks = forks
        order = {
            "arguments": ["serve", "--port", "0", "--models-dir", str(models_dir), *flags],
            "before": list(before),
            "environment": dict(environment or {}),
        }
        errors, their_errors = os.pipe()
        their_gate, self._gate = os.pipe()
        self.pid = forks.ask(order, [their_errors, their_gate])["pid"]
        os.close(their_errors)
        os.close(their_gate)
        self._ended = os.pidfd_open(self.pid)
        self.log: list[str] = []
        self.address: tuple[str, int] | None = None
        self._heard = Event()
        self._reader = Thread(target=self._read, args=(errors,), daemon=True)
        self._reader.start()
        if not is_held:
            self.release()

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended >= 0:
            self.kill()

    def release(self) -> None:
        """Let a held process begin."""
        os.close(self._gate)

    def wait_ready(self) -> bool:
        """Whether it became ready; otherwise it ended."""
        assert self._heard.wait(_START_S), self.text
        return self.address is not None

    def ready(self) -> tuple[str, int]:
        """The address of a server that must become ready."""
        self.wait_ready()
        assert self.address is not None, f"the server did not become ready:\n{self.text}"
        return self.address

    def kill(self) -> int:
        """`kill -9`, and wait for the end."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, also to one that has just ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._ended, number)

    def wait(self) -> int:
        """The exit code, or minus the signal that killed it."""
        readable, _, _ = select.select([self._ended], [], [], _END_S)
        assert readable, f"process {self.pid} did not end:\n{self.text}"
        code = self._forks.ask({"wait": self.pid})["code"]
        os.close(self._ended)
        self._ended = -1
        self._reader.join()
        return code

    @property
    def text(self) -> str:
        """What it has said so far."""
        return "".join(self.log)

    def _read(self, errors: int) -> None:
        with open(errors, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.log.append(line)
                if self.address is None and (found := _URL.search(line)):
                    self.address = (found[1], int(found[2]))
                    self._heard.set()
        self._heard.set()
