"""Rejections: who sends one step after the other that the guards refuse."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from app.errors import MustPause

PAUSE_S: Final = 60
_MOST_SENDERS: Final = 4096


@dataclass(slots=True)
class _Row:
    """Rejected steps without an accepted one or a pause between them."""

    length: int
    tried_s: float


class Rejections:
    """How many steps of a sender were rejected in a row, a model; too many, and it has to pause.

    Each rejected step costs a whole update: whoever sends nothing else only keeps the trainer from
    the steps of others. One thread uses it.

    Args:
        most: rejected steps in a row, after which no other is taken.
        most_senders: so many are remembered, of all models together; the oldest is forgotten.
        clock: in seconds; never goes back.
    """

    def __init__(
        self,
        most: int,
        *,
        most_senders: int = _MOST_SENDERS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most = most
        self._most_senders = most_senders
        self._clock = clock
        self._rows: OrderedDict[tuple[str, str], _Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, model: str, sender: str) -> None:
        """Refuse a step whose sender has to pause; the pause then begins anew.

        Raises:
            MustPause: `too_many_rejections`.
        """
        row = self._find(model, sender)
        if row is None or row.length < self._most:
            return
        row.tried_s = self._clock()
        self._rows.move_to_end((model, sender))
        raise MustPause(
            "too_many_rejections",
            f"the last {row.length} steps for model {model!r} were all rejected; look at the "
            f"reasons, send nothing for {PAUSE_S} seconds, then go on with other data",
            retry_after_s=PAUSE_S,
        )

    def note_rejected(self, model: str, sender: str) -> None:
        """A guard refused a step."""
        row = self._find(model, sender)
        length = 1 if row is None else row.length + 1
        self._rows[model, sender] = _Row(length, self._clock())
        self._rows.move_to_end((model, sender))
        if len(self._rows) > self._most_senders:
            self._rows.popitem(last=False)

    def note_accepted(self, model: str, sender: str) -> None:
        """A step was accepted: the row of rejected ones has ended."""
        self._rows.pop((model, sender), None)

    def forget(self, model: str) -> None:
        """The model has gone; another one may get its name."""
        for pair in [pair for pair in self._rows if pair[0] == model]:
            del self._rows[pair]

    def _find(self, model: str, sender: str) -> _Row | None:
        """The row of a sender that did not pause since."""
        row = self._rows.get((model, sender))
        if row is not None and self._clock() - row.tried_s >= PAUSE_S:
            del self._rows[model, sender]
            return None
        return row
