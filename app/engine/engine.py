"""Engine: owns the device, the live models and the admission to both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TypeVar

import numpy as np
import torch

from app import __version__
from app.codecs import STATE_DIGEST_FORM
from app.config import ModelConfig
from app.engine.admission import Admission, Ticket
from app.engine.alone import cost, reduce_alone
from app.engine.batch import Product, outcomes
from app.engine.batcher import Batcher
from app.engine.device import ChosenDevice
from app.engine.large import LargeWork
from app.engine.live import LiveModel
from app.engine.multiplier import HostMultiplier, Multiplier
from app.engine.out_of_memory import MemoryWatch
from app.engine.sizes import check_sizes
from app.engine.snapshot import Snapshot, to_arrays
from app.engine.staged import StagedMultiplier
from app.engine.thread import begin, done
from app.engine.tiling import Tilings
from app.errors import Conflict, SlimvecError
from app.layers import is_lone_reduction
from app.settings import Settings
from app.training.trainer import FitOutcome, Trainer
from app.types import (
    NOTHING_BESIDE,
    Batch,
    Beside,
    Checkpoint,
    Commit,
    Fit,
    FloatArray,
    Json,
    NamedArrays,
    TrainerState,
    TrainStep,
)

log = logging.getLogger("slimvec.engine")

T = TypeVar("T")

# Measured: about 0.7 ms on one core, and so long a product may hold up the event loop. A hop to
# another thread costs less than that, and more than a small product.
_INLINE_MULTIPLY_ADDS = 32 << 20

# Measured at 768 -> 128: 64 requests of one row take a third of the time together, 8 requests of
# 8 rows half of it, and those of 32 rows gain nothing: the rows of one fill the kernel.
_SHARING_ROWS = 16
_MOST_ROWS = 256
# On CUDA a launch costs as much as hundreds of rows. Chosen, not measured: no device was at hand.
_MOST_ROWS_ON_CUDA = 8192
_MULTIPLY_ADDS_ON_CUDA = 8 << 30
# Evaluations, derivatives and alignments, of 0.2 s to some seconds each, that may wait at once.
_MOST_LOOKS = 32


class Engine:
    """The device and what lives on it.

    Args:
        device: where tensors are.
        settings: dtype, threads and limits.
    """

    def __init__(self, device: ChosenDevice, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        self.device = device
        self.admission = Admission(settings.max_concurrent_requests, settings.max_bytes_in_flight)
        self.models: dict[str, LiveModel] = {}
        self.memory = MemoryWatch()
        self._settings = settings
        self._dtype = getattr(torch, settings.dtype)
        self._tilings = Tilings(settings.deterministic, device.torch, self._dtype)
        self._large = LargeWork(self.memory)
        # Takes seconds at a time, for which no product should have to wait.
        self._looks = LargeWork(self.memory, most=_MOST_LOOKS)
        self._thread = _thread_of(device)
        # Whose trainer draws from torch's own generator; it is the process's.
        self._turn = Lock()
        self._batcher = self._make_batcher()

    def initial(self, config: ModelConfig, weights: NamedArrays | None = None) -> Checkpoint:
        """Version 1 of a new model: from the config's seed, or with the given weights.

        Raises:
            ConfigInvalid: the config cannot be built, or it widens.
            ArtifactInvalid: the weights do not fit the config.
        """
        check_sizes(config, self._settings.max_input_size)
        trainer = Trainer(config, device=self.device.torch)
        if weights is not None:
            trainer.assign(weights)
        return _first(trainer)

    def fitted(self, config: ModelConfig, request: Fit) -> tuple[Checkpoint, FitOutcome]:
        """Version 1 of a new model, with weights made from moments of data.

        Raises:
            ConfigInvalid: the config cannot be built, it widens, or it cannot be fitted so.
        """
        check_sizes(config, self._settings.max_input_size)
        trainer = Trainer(config, device=self.device.torch)
        outcome = trainer.apply(request)
        assert isinstance(outcome, FitOutcome), "a fit tells what it did"
        trainer.version = 1  # nobody saw the weights before
        return _first(trainer), outcome

    def prepare(self, name: str, checkpoint: Checkpoint) -> LiveModel:
        """A model in memory as its checkpoint has it; nobody sees it before `start`."""
        trainer = self._trainer(checkpoint)
        snapshot = self.snapshot(name, checkpoint)
        for warning in snapshot.warnings:
            log.warning("config: %s", warning, extra={"model": name})
        return LiveModel(name, checkpoint.config, trainer, snapshot)

    def start(self, live: LiveModel, commit: Commit, stopped: SlimvecError | None = None) -> None:
        """Bring a prepared model to life; it serves from now on, and trains unless `stopped`.

        Raises:
            Conflict: a model of that name is live already.
        """
        if live.name in self.models:
            raise Conflict("model_exists", f"model {live.name!r} exists already")
        limits = self._settings
        live.start(commit, queue_size=limits.train_queue, group_size=limits.train_group)
        if stopped is not None:
            live.stop_training(stopped)
        self.models[live.name] = live

    def state_of(self, checkpoint: Checkpoint) -> TrainerState:
        """The trainer's state behind a checkpoint; fresh where the folder has none."""
        return checkpoint.trainer or self._trainer(checkpoint).state()

    def environment(self, config: ModelConfig) -> Json:
        """What the bits of a train step depend on beside state and batch.

        Measured: threads, CPU capability and fused optimizers change bits.
        Source: docs.pytorch.org, notes/randomness: nothing is promised across releases or devices.
        """
        return {
            "slimvec": __version__,
            "state_digest_form": STATE_DIGEST_FORM,
            "torch": str(torch.__version__),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "device": self.device.name,
            "dtype": "float32",
            "optimizer": config.optimizer.model_dump(mode="json"),
        }

    def snapshot(self, name: str, checkpoint: Checkpoint) -> Snapshot:
        """An inference copy of a checkpoint's weights on the device."""
        tensors = self._to_device(checkpoint.serving)
        step = checkpoint.trainer.step if checkpoint.trainer else 0
        config, version = checkpoint.config, checkpoint.version
        tiling = self._tilings.of(config, tensors)
        return Snapshot(name, version, step, config, tensors, self._dtype, tiling)

    def reduce(
        self,
        ticket: Ticket,
        snapshot: Snapshot,
        hidden_states: FloatArray,
        beside: Beside = NOTHING_BESIDE,
    ) -> asyncio.Future[Product]:
        """Multiply; `ticket` is the proof of admission.

        Shape: hidden_states `(…, *input_shape)`; its product has `(all rows, *output_shape)`.

        Raises (awaited):
            Unavailable: `out_of_memory`.
        """
        del ticket  # held by the caller until the answer is made
        rows = hidden_states
        if beside is not NOTHING_BESIDE or not snapshot.is_shared:
            return self._reduce_alone(snapshot, rows, beside)
        if rows.ndim != 2:
            rows = rows.reshape(-1, snapshot.input_size)
        if self._is_large(rows, snapshot):
            return self._large.multiply(snapshot, rows)
        return self._batcher.reduce(snapshot, rows)

    def aside(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Do beside the event loop what would hold it up; one thing after the other.

        Raises (awaited):
            Unavailable: `out_of_memory`.
        """
        return self._large.run(function)

    def look(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """The same for what takes seconds and is in no hurry: no product waits behind it.

        Raises:
            QueueFull: `overloaded`: many are waiting already.
            Unavailable: `draining`; awaited, `out_of_memory`.
        """
        return self._looks.run(function)

    def warm_up(self) -> None:
        """Pay torch's lazy imports before the first request: one forward and one full step."""
        config = ModelConfig.model_validate(
            {
                "input_size": 4,
                "layers": [{"type": "QRReduction", "n_components": 2}],
                "recipe": "plain",
            }
        )
        batch = Batch(hidden_states=np.eye(4, dtype=np.float32))
        Trainer(config, device=self.device.torch).train(TrainStep(batch=batch))

    def close(self, timeout_s: float) -> None:
        """Give the threads back; models are closed by the service, which checkpoints them."""
        self._large.close()
        self._looks.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False)
        for live in self.models.values():
            live.close(timeout_s)

    def _make_batcher(self) -> Batcher:
        """On CUDA every product runs beside the event loop; elsewhere the small ones run on it."""
        if self._thread is None:
            multiplier: Multiplier = HostMultiplier()
            most_rows, sharing_rows = _MOST_ROWS, _SHARING_ROWS
            multiply_adds = _INLINE_MULTIPLY_ADDS
        else:
            multiplier = StagedMultiplier(self.device.torch)
            most_rows = sharing_rows = _MOST_ROWS_ON_CUDA
            multiply_adds = _MULTIPLY_ADDS_ON_CUDA
        return Batcher(
            partial(outcomes, multiplier, self.memory),
            most_rows=partial(_together, most_rows, multiply_adds),
            sharing_rows=sharing_rows,
            thread=self._thread,
        )

    def _is_large(self, rows: FloatArray, snapshot: Snapshot) -> bool:
        return self._thread is None and len(rows) * snapshot.multiply_adds > _INLINE_MULTIPLY_ADDS

    def _reduce_alone(
        self, snapshot: Snapshot, hidden_states: FloatArray, beside: Beside
    ) -> asyncio.Future[Product]:
        """Small work is done at once, as in the batcher; there is one thread for the rest."""
        leading = hidden_states.ndim - len(snapshot.input_shape)
        rows = hidden_states.reshape(-1, *hidden_states.shape[leading:])
        work = partial(reduce_alone, snapshot, rows, beside)
        if self._thread is not None:
            return begin(self._thread, work)
        if cost(snapshot, rows) > _INLINE_MULTIPLY_ADDS:
            return self._large.run(work)
        return done(work)

    def _trainer(self, checkpoint: Checkpoint) -> Trainer:
        config = _drawn_cheaply(checkpoint.config)
        trainer = Trainer(config, device=self.device.torch, turn=self._turn)
        if checkpoint.trainer is not None:
            trainer.restore(checkpoint.trainer)
        else:
            trainer.assign(checkpoint.serving)
            trainer.version = checkpoint.version
        return trainer

    def _to_device(self, arrays: NamedArrays) -> Mapping[str, torch.Tensor]:
        device = self.device.torch
        return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def _first(trainer: Trainer) -> Checkpoint:
    snapshot = Snapshot("", 1, 0, trainer.config, trainer.serving(), torch.float32)
    return Checkpoint(
        config=trainer.config,
        version=trainer.version,
        digest=snapshot.stamp.digest,
        serving=to_arrays(snapshot.tensors),
        trainer=trainer.state(),
    )


def _thread_of(device: ChosenDevice) -> ThreadPoolExecutor | None:
    """Where products run: beside the event loop when it would only wait for a device."""
    if device.torch.type != "cuda":
        return None
    return ThreadPoolExecutor(1, thread_name_prefix="device")


def _together(most_rows: int, multiply_adds: int, snapshot: Snapshot) -> int:
    """Most rows of one product: with few weights, with many, and as the tiling allows."""
    return min(most_rows, multiply_adds // snapshot.multiply_adds, snapshot.tiling.most)


def _drawn_cheaply(config: ModelConfig) -> ModelConfig:
    """The same model, its first weights drawn without cost: the checkpoint's replace them.

    A QR of a wide matrix may take long.
    """
    if not is_lone_reduction(config):
        return config
    layers = tuple(layer.model_copy(update={"init": "normal"}) for layer in config.layers)
    return config.model_copy(update={"layers": layers})
