"""Values and seams that pass between rooms; immutable, torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.config import Component, ModelConfig

FloatArray: TypeAlias = NDArray[np.float32]
NamedArrays: TypeAlias = Mapping[str, NDArray[Any]]
Json: TypeAlias = dict[str, Any]
Origin: TypeAlias = Literal["initial", "import", "checkpoint"]
Kind: TypeAlias = Literal["step", "rollback", "serving", "config", "import", "fit"]
Serving: TypeAlias = int | Literal["live"]


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
class TrainStep:
    """A validated train step on its way to the trainer."""

    kind: ClassVar[Kind] = "step"
    batch: Batch
    loss: Component | None = None
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Go back to the state of a retained version, as a new version; `state` is that state."""

    kind: ClassVar[Kind] = "rollback"
    to: int
    state: TrainerState
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Let unpinned requests have this version; changes no weights and makes no version."""

    kind: ClassVar[Kind] = "serving"
    version: Serving
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Set the learning rate of every parameter group; changes no weights and makes no version."""

    kind: ClassVar[Kind] = "config"
    learning_rates: tuple[float, ...]
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Take trained weights in the place of the present ones, with a fresh optimizer."""

    kind: ClassVar[Kind] = "import"
    tensors: NamedArrays
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Start anew from data, by the initialiser `method`, with a fresh optimizer.

    Shape: hidden_states `(…, input_size)`.
    """

    kind: ClassVar[Kind] = "fit"
    method: str
    hidden_states: FloatArray
    if_version: int | None = None


ChangeRequest: TypeAlias = TrainStep | Rollback | Serve | Configure | Replace | Fit


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

    `state` holds created, origin, step, metrics, the place in the journal and the other files'
    digests. `trainer` is absent in folders made by hand: learning then starts with a fresh
    optimizer. `keys` is absent where no Idempotency-Key is remembered.
    """

    config: bytes
    model: bytes
    trainer: bytes | None
    state: Json
    keys: bytes | None = None


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
    serving: Serving
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDescription:
    """Where a trainer stands.

    Attributes:
        state_digest: covers everything that learning needs.
        serving: which version unpinned requests get.
        learning_rate: of every parameter group.
        seq: rows of the journal so far.
        journal_bytes: of the journal file that is being written.
        checkpoint: the newest version on disk.
        is_divergent: whether a replay since the last checkpoint gave other bits than before.
    """

    model: str
    version: int
    step: int
    state_digest: str
    serving: Serving
    learning_rate: float | tuple[float, ...]
    seq: int
    journal_bytes: int
    checkpoint: int
    is_divergent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAnswer:
    """What an accepted change other than a step answers; where the trainer stands now."""

    model: str
    kind: Kind
    version: int
    step: int
    digest: str
    serving: Serving
    learning_rate: float | tuple[float, ...]


ChangeAnswer: TypeAlias = StepAnswer | ControlAnswer


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key, hashed with its sender's identity, and what it was first used for.

    Attributes:
        hash: SHA-256 of the API key's id and the Idempotency-Key.
        fingerprint: SHA-256 of the decoded request.
    """

    hash: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One accepted change as the journal keeps it: what was asked, what it made.

    Attributes:
        version: the model's version with this change.
        learning_rates: of each parameter group, as the change used or set them.
        state_digest: of everything that learning needs, with this change.
    """

    request: ChangeRequest
    key: Key | None
    answer: ChangeAnswer
    version: int
    learning_rates: tuple[float, ...]
    state_digest: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a train step ended: its answer, the bytes of it, whether they are those of before."""

    answer: StepAnswer
    body: bytes
    is_replayed: bool


class Commit(Protocol):
    """Makes a group of changes durable; called once a group by the trainer thread, which waits.

    Raising undoes the whole group: nothing of it is published, every waiter gets the error.

    Raises:
        OutcomeUnknown: the disk failed in the middle; the model trains no more until a restart.
        StorageFull, Unavailable: nothing was written; the next group may be.
    """

    def __call__(self, changes: Sequence[Change]) -> None: ...


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a model's journal: after the row `seq`, whose checksum is `chain`.

    Rows count from 1 and never restart; `Position(0, 0)` is before the first.
    """

    seq: int
    chain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """One accepted change, as bytes and JSON values.

    Attributes:
        seq: one more than the row before.
        version: the model's version with this change.
        kind: what kind of change.
        at: when, for people (UTC, ISO 8601); nothing depends on it.
        clock_s: seconds that this model has been served in all; ages the keys.
        key_hash, fingerprint: of the Idempotency-Key; both empty without one.
        payload: the request: decoded tensors and options, as a safetensors file.
        state_digest: after this change; replay must reproduce it.
        answer: the bytes of the answer.
    """

    seq: int
    version: int
    kind: Kind
    at: str
    clock_s: float
    key_hash: str
    fingerprint: str
    payload: bytes
    state_digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row read back and verified, with the environment that computed it."""

    row: JournalRow
    position: Position
    environment: Json


class Journal(Protocol):
    """The journal of one live model, open for appending."""

    @property
    def position(self) -> Position: ...

    @property
    def num_bytes(self) -> int: ...

    def append(self, rows: Sequence[JournalRow]) -> None: ...

    def rotate(self, version: int) -> Position: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many old versions stay askable: a version goes when any of the bounds asks for it.

    The two newest checkpoints that can be read always stay.

    Attributes:
        checkpoints: most checkpoints kept.
        num_bytes: most bytes of all version folders together.
        age_s: oldest checkpoint kept, in seconds.
    """

    checkpoints: int
    num_bytes: int
    age_s: float


class Store(Protocol):
    """The model repository on disk: bytes and JSON only."""

    def models(self) -> list[str]: ...

    def versions(self, model: str) -> list[int]: ...

    def read(self, model: str, version: int) -> VersionFiles: ...

    def newest(self, model: str) -> tuple[int, VersionFiles]: ...

    def write(self, model: str, version: int, files: VersionFiles) -> None: ...

    def delete(self, model: str) -> None: ...

    def retain(
        self, model: str, retention: Retention, *, protected: frozenset[int] = frozenset()
    ) -> list[int]: ...

    def set_aside(self, model: str, *, versions: Sequence[int], journal: bool) -> list[str]: ...

    def open_journal(
        self, model: str, version: int, position: Position, environment: Json
    ) -> Journal: ...

    def journal_rows(self, model: str, after: Position) -> Iterator[StoredRow]: ...

    def journal_begin(self, model: str) -> Position: ...

    def journal_end(self, model: str) -> int: ...
