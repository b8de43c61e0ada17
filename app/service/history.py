"""History: one model's journal, keys and clock; what makes a change durable and known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from app.errors import OutcomeUnknown, SlimvecError
from app.service.keys import KeyTable
from app.service.rows import to_row
from app.types import Change, Journal, JournalRow, Position, Serving

if TYPE_CHECKING:
    from app.engine import LiveModel

log = logging.getLogger("slimvec.history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a checkpoint holds beside weights and trainer, all of the same moment.

    Attributes:
        position: in the journal; replay begins after it.
        clock_s: seconds that the model has been served in all.
        serving: which version unpinned requests get.
        keys: the remembered keys, oldest first, each as its line of keys.jsonl.
    """

    position: Position
    clock_s: float
    serving: Serving
    keys: list[bytes]


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
        num_commits: groups that were made durable since the start.
        commit_s: seconds that took in all.
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
        self.num_commits = 0
        self.commit_s = 0.0
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
            self._append(rows)
            self._remember(rows)
        except SlimvecError as error:
            self._note(error.anew())
            raise
        except Exception as error:  # the rows may be durable: to undo them would be to guess
            fault = OutcomeUnknown(
                "outcome_unknown", "the server failed while a change was made durable; restart it"
            )
            self._note(fault)
            raise fault from error
        self._note(None)

    def _append(self, rows: Sequence[JournalRow]) -> None:
        begin = monotonic()
        self.journal.append(rows)
        self.commit_s += monotonic() - begin
        self.num_commits += 1

    def _note(self, fault: SlimvecError | None) -> None:
        """Say once when changes cannot be made durable any more, and when they can again."""
        before, self.fault = self.fault, fault
        if isinstance(fault, OutcomeUnknown) or (fault and before and fault.code == before.code):
            return  # of the first, whoever stops training until the restart says more
        if fault is not None:
            log.warning("training is refused: %s", fault.detail, extra={"model": self._live.name})
        elif before is not None:
            log.info("training goes on", extra={"model": self._live.name})

    def _remember(self, rows: Sequence[JournalRow]) -> None:
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
