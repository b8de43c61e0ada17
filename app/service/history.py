"""History: one model's journal, keys and clock; what makes a change durable and known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from app.errors import SlimvecError
from app.service.keys import Entry, KeyTable
from app.service.rows import to_row
from app.types import Change, Journal, Position, Serving

if TYPE_CHECKING:
    from app.engine import LiveModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a checkpoint holds beside weights and trainer, all of the same moment.

    Attributes:
        position: in the journal; replay begins after it.
        clock_s: seconds that the model has been served in all.
        serving: which version unpinned requests get.
        keys: the remembered keys, oldest first.
    """

    position: Position
    clock_s: float
    serving: Serving
    keys: list[tuple[str, Entry]]


class History:
    """The durable past of one live model; called once a group by its trainer thread.

    Args:
        live: whose past.
        position: where its journal ends now.
        journal: open for appending; None where nothing can be written.
        keys: of the requests that were carried out.
        clock_s: seconds that the model had been served before.

    Attributes:
        fault: why the last change could not be made durable; None once one could.
    """

    def __init__(
        self,
        live: LiveModel,
        position: Position,
        journal: Journal | None,
        keys: KeyTable,
        clock_s: float,
    ) -> None:
        self.keys = keys
        self.fault: SlimvecError | None = None
        self._live = live
        self._first = position
        self._journal = journal
        self._clock_base = clock_s - monotonic()

    @property
    def clock_s(self) -> float:
        """Seconds that the model has been served in all; no clock of the system changes it."""
        return self._clock_base + monotonic()

    @property
    def journal(self) -> Journal:
        """The open journal."""
        assert self._journal is not None, "a read-only model accepts no change"
        return self._journal

    @property
    def position(self) -> Position:
        """Behind the last change."""
        return self._journal.position if self._journal else self._first

    @property
    def num_bytes(self) -> int:
        """Bytes of the journal file that is being written."""
        return self._journal.num_bytes if self._journal else 0

    @property
    def is_writable(self) -> bool:
        """Whether changes can be made durable here."""
        return self._journal is not None

    def commit(self, changes: Sequence[Change]) -> None:
        """Make a group durable, then remember its keys; see `app.types.Commit`."""
        clock_s, seq = self.clock_s, self.journal.position.seq
        rows = [
            to_row(change, seq=seq + number, clock_s=clock_s)
            for number, change in enumerate(changes, start=1)
        ]
        try:
            self.journal.append(rows)
        except SlimvecError as error:
            self.fault = error
            raise
        self.fault = None
        for row in rows:
            if row.key_hash:
                self.keys.remember(row.key_hash, row.fingerprint, row.clock_s, row.answer)

    def begin_checkpoint(self, version: int) -> Moment:
        """Start a new journal file after this version, and say where the old one ended.

        Only between two groups, in the trainer's thread.
        """
        return Moment(
            position=self.journal.rotate(version),
            clock_s=self.clock_s,
            serving=self._live.serving,
            keys=self.keys.dump(),
        )

    def close(self) -> None:
        """Give the journal back."""
        if self._journal is not None:
            self._journal.close()
