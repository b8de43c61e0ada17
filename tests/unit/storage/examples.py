"""Version files to store, and an operating system that fails when told to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.storage.system import System
from app.types import VersionFiles

CALLS = ("open", "mkdir", "write", "fsync", "rename", "rmdir", "rmtree")


def version_files(number: int, *, origin: str = "checkpoint") -> VersionFiles:
    """Files whose every content names the version, so that a mixture would be seen."""
    return VersionFiles(
        config=b'{"version": %d}' % number,
        model=b"model %d " % number * 20,
        trainer=b"trainer %d " % number * 20,
        state={"origin": origin, "step": number, "metrics": {"loss": number / 7}},
    )


def contents(files: VersionFiles) -> tuple[bytes, bytes, bytes | None, int]:
    return files.config, files.model, files.trainer, files.state["step"]


class Killed(BaseException):
    """The process is gone: nothing that follows may run."""


class Failing(System):
    """The call number `at` fails with `failure`; after Killed, every later call does too.

    A write that fails has written half of its bytes before, as on a disk that becomes full.
    """

    def __init__(self, at: int, failure: BaseException) -> None:
        self.names: list[str] = []
        self._at = at
        self._failure = failure
        for name in CALLS:
            setattr(self, name, self._counted(name, getattr(System, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.names.append(name)
            number = len(self.names)
            late = number > self._at and isinstance(self._failure, Killed)
            if number == self._at and name == "write":
                os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if number == self._at or late:
                raise self._failure
            return call(*arguments, **keywords)

        return counted


def calls_of(act: Callable[[System], object]) -> list[str]:
    """The calls that an action makes when none fails, by name."""
    system = Failing(0, OSError())
    act(system)
    return system.names


@contextmanager
def killed_or_done() -> Iterator[None]:
    """Ends quietly when the body is killed."""
    try:
        yield
    except Killed:
        return
