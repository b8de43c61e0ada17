"""The verbs that every edge calls, protocol-neutral: arrays and config in, values out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeVar

from app.config import ModelConfig
from app.engine import Admission, ChosenDevice, Engine, LiveModel, Ticket
from app.errors import SlimvecError, Unavailable
from app.exchange import from_tensors
from app.service.alignments import Alignments
from app.service.checkpoints import Checkpoints
from app.service.controls import Controls
from app.service.descriptions import describe, summarise
from app.service.evaluations import Evaluations
from app.service.first_versions import FirstVersions
from app.service.history import History
from app.service.life import Life
from app.service.models import Models
from app.service.quality_watch import QualityWatch
from app.service.recovery import Recovery
from app.service.reduce_options import NO_OPTIONS, ReduceOptions
from app.service.reductions import Reductions
from app.service.rejections import Rejections
from app.service.repairs import Repairs
from app.service.residence import Residence
from app.service.retained import RetainedVersions
from app.service.steps import REFUSED, Steps
from app.service.texts import Texts
from app.settings import Settings
from app.types import (
    Embedder,
    FloatArray,
    Key,
    ModelDescription,
    ModelSummary,
    NamedArrays,
    Reduced,
    StateDescription,
    StepResult,
    Store,
    TrainStep,
    VersionDescription,
)

T = TypeVar("T")


class Service:
    """Validate → compute → commit → publish → answer.

    Args:
        engine: owns device and live models.
        store: the model repository.
        settings: how the server runs.
        is_writable: whether anything can be stored; otherwise it serves only.
        embedder: makes embeddings of text; without one, only vectors are reduced.

    Attributes:
        models: create, load, delete.
        first_versions: new models on disk, for the command line too.
        repairs: damaged models on disk.
        retained: versions that are on disk.
        reductions: vectors made smaller, by the served version or a retained one.
        alignments: what turns the vectors of one version into the space of another.
        evaluations: what a version makes of a batch, and derivatives.
        texts: texts made small vectors, by way of the embedder.
        steps: train steps, one by one and in streams.
        controls: every other change of a model.
        residence: which models are in memory.
        histories: the journal and keys of each live model.
        life: where all of this is between its start and its end.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        settings: Settings,
        *,
        is_writable: bool = True,
        embedder: Embedder | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._settings = settings
        self.histories: dict[str, History] = {}
        watch = QualityWatch(settings.quality_every_s)
        self._checkpoints = Checkpoints(store, settings, self.histories, watch)
        self._recovery = Recovery(engine, store, settings)
        self.repairs = Repairs(store, self._recovery)
        self.first_versions = FirstVersions(engine, store)
        self.models = Models(
            engine,
            store,
            self._checkpoints,
            self._recovery,
            self.first_versions,
            self.histories,
            is_writable=is_writable,
        )
        self.retained = RetainedVersions(store)
        self.reductions = Reductions(self, engine, settings)
        self.evaluations = Evaluations(self, engine)
        self.alignments = Alignments(self, engine)
        self.texts = Texts(self, store, embedder, is_writable=is_writable)
        self.steps = Steps(self, self._checkpoints, Rejections(settings.max_rejections))
        self.controls = Controls(self, engine, self._checkpoints)
        self.residence = Residence(self, self._checkpoints)
        self.life = Life(
            engine,
            self.models,
            self._checkpoints,
            watch,
            self.histories,
            drain_timeout_s=settings.drain_timeout_s,
        )

    async def start(self) -> None:
        """Load every model; see `Life.start`."""
        await self.life.start()

    async def close(self) -> None:
        """Finish what was accepted; see `Life.close`."""
        await self.life.close()
        await self.texts.close()

    @property
    def progress(self) -> str:
        """What a start is repeating now, in words; empty when it is not."""
        return self._recovery.progress

    @property
    def training_faults(self) -> dict[str, SlimvecError]:
        """The models that make no change durable now, by name, each with the reason."""
        found = {
            name: live.training_stopped or history.fault
            for name, live in sorted(self._engine.models.items())
            if (history := self.histories.get(name))  # not yet, while it is being started
        }
        return {name: fault for name, fault in found.items() if fault is not None}

    @property
    def steps_refused(self) -> Iterator[tuple[str, str, int]]:
        """Model, reason and number of the steps that were refused since the start."""
        for name, live in sorted(self._engine.models.items()):
            for counter, number in sorted(live.counters.items()):
                if counter.startswith(REFUSED):
                    yield name, counter.removeprefix(REFUSED), number

    @property
    def admission(self) -> Admission:
        """Who hands out tickets."""
        return self._engine.admission

    @property
    def is_short_of_memory(self) -> bool:
        """Whether one batch after the other found no memory."""
        return self._engine.memory.is_short

    @property
    def device(self) -> ChosenDevice:
        """What everything here runs on, and why."""
        return self._engine.device

    # Verbs

    async def reduce(
        self,
        model: str,
        hidden_states: FloatArray,
        options: ReduceOptions = NO_OPTIONS,
        *,
        mask: FloatArray | None = None,
        ticket: Ticket | None = None,
    ) -> Reduced:
        """Make vectors smaller with exactly one version of the weights, and say which.

        Shape: hidden_states `(…, input_size)`; returns `(…, n_components)`.

        Args:
            model: its name.
            hidden_states: what to make smaller.
            options: version, normalisation, dimensions.
            mask: of shape (…, length): 1 for each token that counts, 0 for each other one.
            ticket: admission, where whoever asks has it already; it stays theirs.

        Raises:
            NotFound: unknown model or version.
            PreconditionFailed: `require_version` is not the version that would answer.
            Unacceptable: width, values or options that cannot be used.
            QueueFull: too many requests in flight.
        """
        if ticket is not None:
            return await self.reductions.reduce(ticket, model, hidden_states, options, mask)
        with self.admission.admit(hidden_states.nbytes) as admitted:
            return await self.reductions.reduce(admitted, model, hidden_states, options, mask)

    def aside(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Do beside the event loop what would hold it up, like reading a large body.

        There is one thread for it, which also makes the large products: what is asked for first is
        done first.

        Raises (awaited):
            Unavailable: `out_of_memory`.
        """
        return self._engine.aside(function)

    async def train_step(
        self, model: str, step: TrainStep, key: Key | None = None, *, sender: str = ""
    ) -> StepResult:
        """Apply one update; the answer names the version that it made.

        With a key it is applied at most once: the same request again gets the stored answer.

        Raises:
            NotFound: unknown model.
            Unacceptable, StepRejected: nothing changed.
            PreconditionFailed: `if_version` is not the trainer's version.
            InProgress: the same request under this key is being carried out.
            Conflict: the model is frozen.
            MustPause: too many steps of this sender were rejected in a row.
            QueueFull, Unavailable, StorageFull: nothing was accepted.
            OutcomeUnknown: the disk failed; a restart will tell.
        """
        await self.steps.look(model, step)
        return await self.steps.begin(model, step, key, sender=sender)

    async def create(self, model: str, config: ModelConfig) -> ModelSummary:
        """Create a model from its config, durable before it is answered."""
        self.life.check_accepting()
        return summarise(await asyncio.to_thread(self.models.create, model, config))

    async def upload(self, model: str, tensors: NamedArrays) -> ModelSummary:
        """Create a model from trained weights under a known name; durable before answered."""
        self.life.check_accepting()
        return summarise(await asyncio.to_thread(self.models.adopt, model, from_tensors(tensors)))

    async def delete(self, model: str) -> None:
        """Delete a model and its folder; see `Models.delete`."""
        self.life.check_accepting()
        async with self._checkpoints.paused(model):
            await asyncio.to_thread(self.models.delete, model)
        self.steps.forget(model)

    async def checkpoint(self, model: str) -> int:
        """Write the newest version to disk now; returns its number."""
        return await self._checkpoints.write(self.live(model))

    def summaries(self) -> list[ModelSummary]:
        """Every live model, by name."""
        return [summarise(live) for live in self.live_models()]

    def live_models(self) -> list[LiveModel]:
        """The same, as whoever serves them has them."""
        return [live for _, live in sorted(self._engine.models.items())]

    async def describe(self, model: str) -> ModelDescription:
        """Config, versions and device of one model."""
        live = self.live(model)
        retained = await asyncio.to_thread(self._store.versions, model)
        return describe(live, retained, self._engine.device, self._settings.dtype)

    async def versions(self, model: str) -> list[VersionDescription]:
        """The retained versions, oldest first."""
        self.live(model)
        return await asyncio.to_thread(self.retained.describe_all, model)

    async def version(self, model: str, version: int) -> VersionDescription:
        """One retained version.

        Raises:
            NotFound: it is not retained; the message names the nearest ones.
        """
        self.live(model)
        return await asyncio.to_thread(self.retained.describe, model, version)

    async def state(self, model: str) -> StateDescription:
        """Where the trainer stands, with the digest that replay and restart must reproduce."""
        live, history = self.live(model), self.histories[model]
        newest = self._checkpoints.newest  # asked for with the rest: afterwards it may have gone
        stand, (serving, seq, num_bytes, checkpoint) = await asyncio.wrap_future(
            live.stand(
                lambda: (live.serving, history.position.seq, history.num_bytes, newest(model))
            )
        )
        rates = stand.learning_rates
        return StateDescription(
            model=model,
            version=stand.version,
            step=stand.step,
            state_digest=stand.state_digest,
            serving=serving,
            learning_rate=rates[0] if len(rates) == 1 else rates,
            seq=seq,
            journal_bytes=num_bytes,
            checkpoint=checkpoint,
            is_divergent=live.is_divergent,
        )

    def live(self, model: str) -> LiveModel:
        """The live model of that name.

        Raises:
            Unacceptable: not a model name at all.
            NotFound: no such model.
            Unavailable: still loading.
        """
        live = self._engine.models.get(model)
        if live is not None:
            return live
        if self.life.phase == "starting":
            raise Unavailable("not_ready", "the server is still loading its models")
        return self.models.missing(model)

    def takes_ids(self, model: str) -> bool:
        """Whether the rows of that model are ids; not where there is no such model."""
        live = self._engine.models.get(model)
        return live is not None and live.takes_ids
