"""A live model: the newest snapshot that readers take, and the worker that makes the next one."""

from __future__ import annotations

from collections import Counter, OrderedDict
from concurrent.futures import Future

from app.config import ModelConfig
from app.engine.snapshot import Snapshot, to_arrays
from app.engine.worker import TrainerWorker
from app.errors import SlimvecError
from app.training.trainer import Trainer
from app.types import Checkpoint, Commit, StepAnswer, TrainerState, TrainStep

_PINNED_KEPT = 4


class LiveModel:
    """One model in memory.

    Readers take `snapshot` by reference and keep it for the whole request, so a vector is made by
    exactly one version. The worker replaces the reference; it never changes a snapshot.

    Attributes:
        name: the model's name.
        config: what the model is.
        snapshot: the newest published version.
        counters: what the model did since the start, for `GET /models/{m}`.
    """

    def __init__(self, name: str, config: ModelConfig, trainer: Trainer, first: Snapshot) -> None:
        self.name = name
        self.config = config
        self.snapshot = first
        self.counters: Counter[str] = Counter()
        self._dtype = first.dtype
        self._trainer = trainer
        self._worker: TrainerWorker | None = None
        self._pinned: OrderedDict[int, Snapshot] = OrderedDict()

    def start(self, commit: Commit, *, queue_size: int, group_size: int) -> None:
        """Begin to accept train steps."""
        self._worker = TrainerWorker(
            self.name,
            self._trainer,
            take_snapshot=self._take_snapshot,
            publish=self._publish,
            commit=commit,
            queue_size=queue_size,
            group_size=group_size,
        )

    def train(self, step: TrainStep) -> Future[StepAnswer]:
        """Queue a step; see `TrainerWorker.submit`."""
        return self._running.submit(step)

    def checkpoint(self) -> Future[Checkpoint]:
        """The newest version, whole, taken between two groups of steps."""
        return self._running.ask(self._take_checkpoint)

    def state(self) -> Future[TrainerState]:
        """The trainer's state, taken between two groups of steps."""
        return self._running.ask(Trainer.state)

    def settled(self) -> Future[None]:
        """Resolved when every step accepted so far is answered."""
        return self._running.ask(lambda _: None)

    def reject_waiting(self, reason: SlimvecError) -> None:
        """Answer every step that has not begun with this error."""
        self._running.reject_waiting(reason)

    @property
    def is_closed(self) -> bool:
        """Whether the model is deleted or the server is ending."""
        return self._running.is_closed

    def close(self, timeout_s: float) -> bool:
        """Finish the accepted steps; whether they ended within the time."""
        return self._running.close(timeout_s)

    def pinned(self, version: int) -> Snapshot | None:
        """A retained version that is in memory already."""
        if version in self._pinned:
            self._pinned.move_to_end(version)
        return self._pinned.get(version)

    def pin(self, snapshot: Snapshot) -> None:
        """Keep a retained version in memory; the least recently used one makes room."""
        self._pinned[snapshot.stamp.version] = snapshot
        while len(self._pinned) > _PINNED_KEPT:
            self._pinned.popitem(last=False)

    @property
    def _running(self) -> TrainerWorker:
        assert self._worker is not None, "start() comes before the first use"
        return self._worker

    def _publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def _take_snapshot(self, trainer: Trainer) -> Snapshot:
        stamp = (self.name, trainer.version, trainer.step)
        return Snapshot(*stamp, self.config, trainer.serving(), self._dtype)

    def _take_checkpoint(self, trainer: Trainer) -> Checkpoint:
        # Between two groups the published snapshot and the trainer are at the same version.
        return Checkpoint(
            config=self.config,
            version=trainer.version,
            digest=self.snapshot.stamp.digest,
            serving=to_arrays(self.snapshot.tensors),
            trainer=trainer.state(),
        )
