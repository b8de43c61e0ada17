"""A live model: the snapshots that readers take, and the worker that makes the next one."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from app.config import ModelConfig
from app.engine.examination import Examination, examination
from app.engine.group import Group
from app.engine.jobs import Job
from app.engine.publication import Publication, Publisher
from app.engine.replay import Replay
from app.engine.snapshot import Snapshot
from app.engine.standing import Stand, Taken, stand_of, take
from app.engine.worker import TrainerWorker
from app.errors import SlimvecError
from app.layers import declared_once
from app.training.trainer import Trainer
from app.types import (
    Change,
    ChangeAnswer,
    Commit,
    Compatibility,
    GateDescription,
    QualityDescription,
    Rollback,
    Serving,
)

T = TypeVar("T")

_PINNED_KEPT = 4


class LiveModel:
    """One model in memory.

    Readers take a snapshot by reference and keep it for the whole request, so a vector is made by
    exactly one version. The worker replaces the references; it never changes a snapshot.

    Attributes:
        name: the model's name.
        config: what the model is.
        published: what readers are given.
        serving: which version unpinned requests get.
        served: the snapshot of that version.
        counters: what the model did since the start, for `GET /models/{m}`.
        is_divergent: whether its replay gave other bits than the first time.
        takes_ids: whether its rows are ids, for which integers may stand.
        is_observed: whether it remembers vectors that its quality can be taken of.
        quality: the last figures taken; none before the first.
        checkpointed: the version that was written to disk last.
        compatibility: of that one with the one written before it; none before the second.
    """

    def __init__(self, name: str, config: ModelConfig, trainer: Trainer, first: Snapshot) -> None:
        self.name = name
        self.config = config
        self.published = Publication(first, first)
        self.serving: Serving = "live"
        self.served = first
        self.counters: Counter[str] = Counter()
        self.is_divergent = False
        self.takes_ids = declared_once(config).takes_ids
        self.is_observed = trainer.observed is not None
        self.quality: QualityDescription | None = None
        self.checkpointed = first
        self.compatibility: Compatibility | None = None
        self._publisher = Publisher(first, config)
        self._trainer = trainer
        self._worker: TrainerWorker | None = None
        self._pinned: OrderedDict[int, Snapshot] = OrderedDict()
        self.publish()

    @property
    def snapshot(self) -> Snapshot:
        """The newest published version."""
        return self.published.newest

    @property
    def gate(self) -> GateDescription | None:
        """Whether `live` may follow the newest version; None without a gate."""
        return self.published.gate

    @property
    def drift(self) -> float | None:
        """How much less the map captures of the newest vectors; None while nothing is known."""
        return self.published.drift

    # Before the start

    def replay(self) -> Replay:
        """Repeats what came after the checkpoint; `publish` shows where that led."""
        return Replay(self._trainer)

    def publish(self) -> None:
        """Let readers have what the trainer has come to."""
        self._publish(self._publisher.follow(self._trainer, self.published))

    def renumber(self, version: int) -> None:
        """Call the newest weights by a number that was never given out."""
        self._trainer.version = version
        self.publish()

    def rebase(self) -> Sequence[Change]:
        """The present state as a version of its own, for a journal that cannot lead to it."""
        version = self._trainer.version
        state = Rollback(to=version, state=self._trainer.state())
        before = self._trainer.savepoint()
        group = Group(
            self.name,
            self._trainer,
            before,
            self.published,
            self.serving,
            self._publisher.follow,
        )
        group.add(Job(state), rejection=None)
        self._publish(group.published)
        return group.changes

    def prepared(self, beside: Callable[[int], T]) -> tuple[Taken, T]:
        """The version as it is before the start; see `checkpoint`."""
        return take(self.config, self.snapshot, self._trainer), beside(self._trainer.version)

    def start(self, commit: Commit, *, queue_size: int, group_size: int) -> None:
        """Begin to accept changes."""
        self._worker = TrainerWorker(
            self.name,
            self._trainer,
            self.published,
            self.serving,
            follow=self._publisher.follow,
            publish=self._publish,
            commit=commit,
            queue_size=queue_size,
            group_size=group_size,
        )

    # Changes

    def submit(self, job: Job) -> Future[ChangeAnswer]:
        """Queue a change; see `TrainerWorker.submit`."""
        return self._running.submit(job)

    def serve(self, version: Serving, snapshot: Snapshot | None) -> None:
        """Let unpinned requests have this snapshot; without one, what is live."""
        self.serving = version
        self.served = snapshot or self.published.live

    def stop_training(self, reason: SlimvecError) -> None:
        """Accept no more changes; reads go on."""
        self._running.stop(reason)

    @property
    def training_stopped(self) -> SlimvecError | None:
        """Why no change is accepted, if so."""
        return self._running.stopped

    def checkpoint(self, beside: Callable[[int], T]) -> Future[tuple[Taken, T]]:
        """The newest version, whole, taken between two groups of changes.

        Args:
            beside: called with that version at the same moment, in the trainer's thread.
        """
        # Between two groups the published snapshot and the trainer are at the same version.
        return self._running.ask(
            lambda trainer: (take(self.config, self.snapshot, trainer), beside(trainer.version))
        )

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Whatever must be read between two groups of changes."""
        return self._running.ask(lambda _: question())

    def stand(self, beside: Callable[[], T]) -> Future[tuple[Stand, T]]:
        """Where the trainer stands, between two groups of changes.

        Args:
            beside: called at the same moment, in the trainer's thread.
        """
        return self._running.ask(lambda trainer: (stand_of(trainer), beside()))

    def examination(self) -> Future[Examination | None]:
        """What looks at versions of the model; None where nothing is remembered."""
        return self._running.ask(lambda trainer: examination(self.config, self.snapshot, trainer))

    def settled(self) -> Future[None]:
        """Resolved when every change accepted so far is answered."""
        return self.ask(lambda: None)

    def reject_waiting(self, reason: SlimvecError) -> None:
        """Answer every change that has not begun with this error."""
        self._running.reject_waiting(reason)

    @property
    def is_closed(self) -> bool:
        """Whether the model is deleted or the server is ending."""
        return self._running.is_closed

    def close(self, timeout_s: float) -> bool:
        """Finish the accepted changes; whether they ended within the time."""
        return self._running.close(timeout_s)

    # Pinned versions

    def pinned(self, version: int) -> Snapshot | None:
        """A retained version that is in memory already."""
        if version in self._pinned:
            self._pinned.move_to_end(version)
            return self._pinned[version]
        given = (self.served, self.published.live)
        return next((snapshot for snapshot in given if snapshot.stamp.version == version), None)

    def pin(self, snapshot: Snapshot) -> None:
        """Keep a retained version in memory; the least recently used one makes room."""
        self._pinned[snapshot.stamp.version] = snapshot
        while len(self._pinned) > _PINNED_KEPT:
            self._pinned.popitem(last=False)

    def unpin(self, versions: Iterable[int]) -> None:
        """Forget versions that are on disk no more."""
        for version in versions:
            self._pinned.pop(version, None)

    @property
    def _running(self) -> TrainerWorker:
        assert self._worker is not None, "start() comes before the first use"
        return self._worker

    def _publish(self, following: Publication) -> None:
        before, self.published = self.published, following
        if self.serving == "live":
            self.served = following.live
        self._publisher.tell(before, following)
