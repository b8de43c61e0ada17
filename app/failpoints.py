"""Failpoints: named places where a test can kill, fail or delay the process.

Inert unless `arm` was called, which the hidden flag `--with-failpoints` of `slimvec serve` does
with the variable `SLIMVEC_FAILPOINTS`: `name=action[:nth]`, several separated by commas. Actions
are `kill` (SIGKILL to this process), `eio`, `enospc` (an OSError, at I/O points only) and
`delay` (0.3 s). `nth` is the hit at which it acts, the first one by default; `delay` acts from
that hit on, the others once.
"""

from __future__ import annotations

import errno
import os
import signal
from itertools import count
from time import sleep

from app.errors import StartupError

IO_POINTS = frozenset(
    {
        "journal.before_insert",
        "journal.before_commit",
        "journal.before_rotate",
        "ckpt.before_write",
        "retention.before_unlink",
    }
)
POINTS = IO_POINTS | {
    "parse.done",
    "idem.lookup",
    "queue.put",
    "step.before_forward",
    "step.after_backward",
    "step.after_optim",
    "guard.after",
    "journal.after_commit",
    "publish.before_swap",
    "publish.after_swap",
    "reply.before_send",
    "journal.after_rotate",
    "ckpt.after_fsync",
    "ckpt.after_rename",
    "ckpt.after_dirsync",
    "recover.after_ckpt",
    "recover.mid_replay",
    "drain.begin",
    "import.after_validate",
    "import.after_rename",
}
_ERRORS = {"eio": errno.EIO, "enospc": errno.ENOSPC}
_DELAY_S = 0.3


class _Armed:
    """What is to happen at one point."""

    def __init__(self, action: str, nth: int) -> None:
        self._action = action
        self._nth = nth
        self._hits = count(1)

    def hit(self) -> None:
        number = next(self._hits)
        if self._action == "delay" and number >= self._nth:
            sleep(_DELAY_S)
        elif number == self._nth and self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif number == self._nth and self._action in _ERRORS:
            number = _ERRORS[self._action]
            raise OSError(number, os.strerror(number))


# The one module-level state of the product: points are reached from every room, and a test must
# be able to arm them in a whole process from outside.
_armed: dict[str, _Armed] = {}


def reach(point: str) -> None:
    """Mark a place; does nothing unless a test armed it."""
    if _armed and (armed := _armed.get(point)):
        armed.hit()


def arm(specification: str) -> None:
    """Arm points, as the module says.

    Raises:
        StartupError: `settings_invalid`: no such point or action.
    """
    for entry in filter(None, specification.split(",")):
        point, _, what = entry.partition("=")
        action, _, nth = what.partition(":")
        possible = {"kill", "delay"} | (_ERRORS.keys() if point in IO_POINTS else set())
        if point not in POINTS or action not in possible or not (nth or "1").isdigit():
            raise StartupError(
                "settings_invalid",
                f"SLIMVEC_FAILPOINTS: expected name=action[:nth], got {entry!r}; {point!r} can do "
                f"{', '.join(sorted(possible)) if point in POINTS else 'nothing: no such point'}",
            )
        _armed[point] = _Armed(action, int(nth or 1))
