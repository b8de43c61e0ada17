"""Engine: owns the device, the live models and the admission to both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from app import __version__
from app.config import ModelConfig
from app.engine.admission import Admission, Ticket
from app.engine.device import ChosenDevice
from app.engine.live import LiveModel
from app.engine.snapshot import Snapshot, to_arrays
from app.errors import ConfigInvalid, Conflict, SlimvecError
from app.settings import Settings
from app.training.trainer import Trainer
from app.types import (
    Batch,
    Checkpoint,
    Commit,
    FloatArray,
    Json,
    NamedArrays,
    TrainerState,
    TrainStep,
)

# Below this many multiply-adds a product costs less than the hop to another thread (measured:
# about 0.3 ms on one core), so it runs on the event loop.
_INLINE_MULTIPLY_ADDS = 32 << 20

# 256 MiB in float32, and three times that with Adam's moments.
_MAX_WEIGHTS = 64 << 20


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
        self._settings = settings
        self._dtype = getattr(torch, settings.dtype)
        self._large = ThreadPoolExecutor(1, thread_name_prefix="reduce")

    def initial(self, config: ModelConfig, weights: NamedArrays | None = None) -> Checkpoint:
        """Version 1 of a new model: from the config's seed, or with the given weights.

        Raises:
            ConfigInvalid: the config cannot be built, or it widens.
            ArtifactInvalid: the weights do not fit the config.
        """
        _check_sizes(config)
        trainer = Trainer(config, device=self.device.torch)
        if weights is not None:
            trainer.assign(weights)
        snapshot = Snapshot("", 1, 0, config, trainer.serving(), torch.float32)
        return Checkpoint(
            config=config,
            version=trainer.version,
            digest=snapshot.stamp.digest,
            serving=to_arrays(snapshot.tensors),
            trainer=trainer.state(),
        )

    def prepare(self, name: str, checkpoint: Checkpoint) -> LiveModel:
        """A model in memory as its checkpoint has it; nobody sees it before `start`."""
        trainer = self._trainer(checkpoint)
        return LiveModel(name, checkpoint.config, trainer, self.snapshot(name, checkpoint))

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
        return Snapshot(name, version, step, config, tensors, self._dtype)

    async def reduce(
        self, ticket: Ticket, snapshot: Snapshot, hidden_states: FloatArray
    ) -> FloatArray:
        """Multiply; `ticket` is the proof of admission.

        Shape: hidden_states `(…, input_size)`; returns `(…, n_components)`.
        """
        del ticket  # held by the caller until the answer is made
        if hidden_states.size * snapshot.n_components <= _INLINE_MULTIPLY_ADDS:
            return snapshot.multiply(hidden_states)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._large, snapshot.multiply, hidden_states)

    def warm_up(self) -> None:
        """Pay torch's lazy imports before the first request: one forward and one full step."""
        config = ModelConfig.model_validate(
            {"input_size": 4, "layers": [{"type": "QRReduction", "n_components": 2}]}
        )
        batch = Batch(hidden_states=np.eye(4, dtype=np.float32))
        Trainer(config, device=self.device.torch).train(TrainStep(batch=batch))

    def close(self, timeout_s: float) -> None:
        """Give the threads back; models are closed by the service, which checkpoints them."""
        self._large.shutdown(wait=False)
        for live in self.models.values():
            live.close(timeout_s)

    def _trainer(self, checkpoint: Checkpoint) -> Trainer:
        trainer = Trainer(_drawn_cheaply(checkpoint.config), device=self.device.torch)
        if checkpoint.trainer is not None:
            trainer.restore(checkpoint.trainer)
        else:
            trainer.assign(checkpoint.serving)
            trainer.version = checkpoint.version
        return trainer

    def _to_device(self, arrays: NamedArrays) -> Mapping[str, torch.Tensor]:
        device = self.device.torch
        return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def _drawn_cheaply(config: ModelConfig) -> ModelConfig:
    """The same model, its first weights drawn without cost: the checkpoint's replace them.

    An initialiser may take long (a QR of a wide matrix) or need a sample that is not here (pca).
    """
    layers = tuple(layer.model_copy(update={"init": "normal"}) for layer in config.layers)
    return config.model_copy(update={"layers": layers})


def _check_sizes(config: ModelConfig) -> None:
    """Refuse what a reducer is not, before anything of that size is built."""
    n_components = config.n_components or 0  # a missing one is refused where the layer is built
    pointer = f"/layers/{len(config.layers) - 1}/n_components"
    if n_components > config.input_size:
        raise ConfigInvalid(
            f"expected n_components of at most input_size ({config.input_size}), "
            f"got {n_components}; a reducer does not widen",
            pointer=pointer,
        )
    if n_components * config.input_size > _MAX_WEIGHTS:
        raise ConfigInvalid(
            f"expected at most {_MAX_WEIGHTS} weights, got {n_components} x {config.input_size}",
            pointer=pointer,
        )
