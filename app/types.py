"""Values and seams that pass between rooms; immutable, torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.config import Component, ModelConfig

FloatArray: TypeAlias = NDArray[np.float32]
NamedArrays: TypeAlias = Mapping[str, NDArray[Any]]
Json: TypeAlias = dict[str, Any]
Origin: TypeAlias = Literal["initial", "import", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which weights made a vector: model, version, digest."""

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Reduced:
    """The answer of a reduce: `array` has shape `(…, n_components)`, float32."""

    array: FloatArray
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One train step's input, decoded.

    Shape: hidden_states `(…, input_size)`; targets as the loss asks, `(…, n_components)`;
    sample_weights `(…)`, one weight for each row.
    """

    hidden_states: FloatArray
    targets: FloatArray | None = None
    sample_weights: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """A validated train step on its way to the trainer."""

    batch: Batch
    loss: Component | None = None
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswer:
    """What an accepted step answers; `version` and `digest` are those that the step made."""

    model: str
    version: int
    step: int
    update: Literal["gradient"]
    loss: float
    grad_norm: float
    learning_rate: float | tuple[float, ...]
    rows: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerState:
    """Everything that learning needs: raw parameters, optimizer tensors, counters.

    `arrays` have flat names (`layer.Q_reduced`, `optimizer.Q_reduced.exp_avg`); `scalars` are JSON
    values (the optimizer's hyper-parameters, for one).
    """

    version: int
    step: int
    arrays: NamedArrays
    scalars: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One version, whole: the folded serving tensors and the trainer's state behind them."""

    config: ModelConfig
    version: int
    digest: str
    serving: NamedArrays
    trainer: TrainerState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFiles:
    """The files of one version folder, as storage reads and writes them.

    `state` holds created, origin, step, metrics and the other files' digests. `trainer` is absent
    in folders made by hand: learning then starts with a fresh optimizer.
    """

    config: bytes
    model: bytes
    trainer: bytes | None
    state: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """One line of the list of models."""

    model: str
    version: int
    digest: str
    input_size: int
    n_components: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription(ModelSummary):
    """Everything about one model.

    Attributes:
        retained: the versions on disk.
        counters: rows_reduced, rows_trained, steps_accepted, steps_refused since the start.
    """

    config: ModelConfig
    step: int
    serving: Literal["live"]
    retained: tuple[int, ...]
    device: str
    device_reason: str
    dtype: str
    counters: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDescription:
    """One retained version; a folder made by hand knows its number only."""

    version: int
    origin: Origin
    step: int
    created: str | None
    digest: str | None
    state_digest: str | None
    metrics: Json


@dataclass(frozen=True, slots=True)
class StateDescription:
    """Where a trainer stands; `state_digest` covers everything that learning needs."""

    model: str
    version: int
    step: int
    state_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One accepted step as the journal will keep it: input, result, digest."""

    step: TrainStep
    answer: StepAnswer


class Commit(Protocol):
    """Makes a group of changes durable; called once a group by the trainer thread, which waits.

    Raising undoes the whole group: nothing of it is published, every waiter gets the error.
    """

    def __call__(self, model: str, changes: Sequence[Change]) -> None: ...


class Store(Protocol):
    """The model repository on disk: bytes and JSON only."""

    def models(self) -> list[str]: ...

    def versions(self, model: str) -> list[int]: ...

    def read(self, model: str, version: int) -> VersionFiles: ...

    def newest(self, model: str) -> tuple[int, VersionFiles]: ...

    def write(self, model: str, version: int, files: VersionFiles) -> None: ...

    def delete(self, model: str) -> None: ...

    def retain(self, model: str, keep: int) -> list[int]: ...
