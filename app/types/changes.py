"""Changes of a model: what can be asked, what it is answered, how it becomes durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.config import Component
from app.types.values import FloatArray, NamedArrays, Serving, TrainerState

Kind: TypeAlias = Literal["step", "rollback", "serving", "config", "import", "fit", "gate"]
Update: TypeAlias = Literal["gradient", "moment", "accumulated", "none"]


# The fields of a batch that hold whole numbers.
WHOLE_FIELDS = frozenset({"labels", "mask"})
# Those that hold ids where the model takes ids.
ID_FIELDS = frozenset({"hidden_states", "positives", "negatives"})


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
        values = {name: getattr(self, name) for name in _FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def nbytes(self) -> int:
        """Of all arrays together."""
        return sum(array.nbytes for array in self.arrays().values())


# Not looked up each time: it is asked for a few times a step.
_FIELDS = tuple(field.name for field in fields(Batch))


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
    """Set the base rate of every parameter group; changes no weights and makes no version.

    Attributes:
        learning_rates: one number for all groups, or one for each in a tuple.
    """

    kind: ClassVar[Kind] = "config"
    learning_rates: float | tuple[float, ...]
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Take trained weights in the place of the present ones, with a fresh optimizer."""

    kind: ClassVar[Kind] = "import"
    tensors: NamedArrays
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMoments:
    """Sums over the vectors of a stream: all that a fit needs of them, however many they were.

    Shape, in float64 (the matrices in float32 above a width of 2,048): total (width,), the sum of
    the vectors; second (width, width), the sum of x xᵀ, uncentred; pairs like it, the sum of
    h hᵀ over half the differences of pairs, h = (q - d) / 2.

    Attributes:
        vectors: how many; both sides of a pair count.
        num_pairs: how many of them came in pairs.
    """

    vectors: int
    total: NDArray[np.float64]
    second: NDArray[Any]
    num_pairs: int = 0
    pairs: NDArray[Any] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by name."""
        known = {"total": self.total, "second": self.second}
        return known if self.pairs is None else {**known, "pairs": self.pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Start anew from the moments of data, by a method of the registry, with a fresh optimizer."""

    kind: ClassVar[Kind] = "fit"
    method: Component
    moments: SeenMoments
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
            gradient), gradients that were only added up, or none: the vectors were only observed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FitAnswer(ControlAnswer):
    """What an accepted fit answers.

    Attributes:
        rows: vectors that it was made from; both sides of a pair count.
        rows_advised: from so many on, more change little: the larger of 2048 and 64 n_components.
        explained_variance: share of the (uncentred, unless centring was asked for) second moment
            that the directions of the weights capture.
        warning: what to mend; empty when there is nothing.
    """

    rows: int
    rows_advised: int
    explained_variance: float
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer(ControlAnswer):
    """What an accepted look of the gate answers.

    Attributes:
        is_open: whether `live` may follow the version that was judged.
        reason: in words.
    """

    is_open: bool
    reason: str


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
