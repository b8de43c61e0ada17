"""Changes of a model: what can be asked, what it is answered, how it becomes durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, Protocol, TypeAlias

from app.config import Component
from app.types.values import FloatArray, NamedArrays, Serving, TrainerState

Kind: TypeAlias = Literal["step", "rollback", "serving", "config", "import", "fit", "gate"]
Update: TypeAlias = Literal["gradient", "moment", "accumulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One train step's input, decoded.

    Whole numbers (labels, the mask, hidden_states of an Embedding) come as float32, which holds
    them exactly up to 2²⁴.

    Shape, with `…` the leading dimensions: hidden_states `(…, *input_shape)`; targets as the loss
    asks, `(…, *output_shape)`; positives and negatives like hidden_states; labels `(…)`, one whole
    number a row; sample_weights `(…)`, one weight a row; mask `(…, length)`, 1 for a token that
    counts and 0 for one that does not.
    """

    hidden_states: FloatArray
    targets: FloatArray | None = None
    positives: FloatArray | None = None
    negatives: FloatArray | None = None
    labels: FloatArray | None = None
    sample_weights: FloatArray | None = None
    mask: FloatArray | None = None

    def arrays(self) -> dict[str, FloatArray]:
        """The arrays that are there, by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """A validated train step on its way to the trainer.

    Attributes:
        loss: instead of the config's.
        branch: which named branch of the layers is trained; the config's first one by default.
    """

    kind: ClassVar[Kind] = "step"
    batch: Batch
    loss: Component | None = None
    branch: str | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Look whether `live` may follow the newest version; changes no weights, makes no version."""

    kind: ClassVar[Kind] = "gate"
    if_version: int | None = None


ChangeRequest: TypeAlias = TrainStep | Rollback | Serve | Configure | Replace | Fit | Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswer:
    """What an accepted step answers; `version` and `digest` are those that the step made.

    Attributes:
        update: a gradient step, the leading eigenvectors of the running moment (without loss and
            gradient), or gradients that were only added up.
        serving: the version that `live` stays at while the gate holds this one back; not in the
            answer otherwise.
    """

    model: str
    version: int
    step: int
    update: Update
    loss: float | None
    grad_norm: float | None
    learning_rate: float | tuple[float, ...]
    rows: int
    digest: str
    serving: int | None = None


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
