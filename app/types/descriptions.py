"""What is told about models, versions and trainers."""

from __future__ import annotations

from dataclasses import dataclass

from app.config import ModelConfig
from app.types.values import Json, Origin, Serving


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """One line of the list of models."""

    model: str
    version: int
    digest: str
    input_size: int
    n_components: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigure:
    """One measure of a version, held against the one that passed before it.

    Attributes:
        judged: of the judged version.
        passed: of the other one; none where there was none.
        doubt: a fall by less than that is chance.
    """

    judged: float
    passed: float | None
    doubt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDescription:
    """Whether `live` may follow the newest version, and what the last look at it found.

    Attributes:
        is_open: whether it may.
        passed: the last version that passed a look; none before the first one.
        judged: the version that the last look was at; none before the first one.
        rows: vectors held out at that look.
        nn10: share of their nearest ten, among them and the reservoir, that stay so; none while
            they are too few.
        mrr: mean reciprocal rank of held-out pairs; none while they are too few.
        reason: in words.
    """

    is_open: bool
    passed: int | None
    judged: int | None
    rows: int
    nn10: GateFigure | None
    mrr: GateFigure | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityDescription:
    """What one version keeps of the vectors that the model remembers.

    Attributes:
        version: whose figures these are.
        at: when they were taken (UTC).
        queries: vectors of the reservoir whose neighbours were looked for among all others.
        recall10: share of their nearest ten by the full vectors that the reduced ones find.
        recall10_low, recall10_high: where 95 of 100 such samples have it.
        explained_variance: energy of all remembered vectors that the weights keep, of all of it.
        captured_energy: the same, of the most that so many components could keep.
        largest_angle_deg: between the space of the weights and the best one known, in degrees.
        orthonormality_error: largest entry of |Q Qᵀ - I|.

    The last four are of a single matrix only.
    """

    version: int
    at: str
    queries: int
    recall10: float
    recall10_low: float
    recall10_high: float
    explained_variance: float | None
    captured_energy: float | None
    largest_angle_deg: float | None
    orthonormality_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription(ModelSummary):
    """Everything about one model.

    Attributes:
        input_shape: of one row of hidden_states; None: any length.
        output_shape: of one reduced row.
        warnings: what the config says that has no effect, each with its JSON pointer.
        retained: the versions on disk.
        counters: rows_reduced, rows_trained, steps_accepted, steps_refused since the start.
        gate: what `live` waits for; none without a gate.
        quality: the last figures taken; none before the first, or where nothing is remembered.
        drift: share of the usual energy that the map does not capture of the newest vectors; about
            0 while they are like those before. None until enough was seen.
    """

    config: ModelConfig
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    warnings: tuple[str, ...]
    step: int
    serving: Serving
    retained: tuple[int, ...]
    device: str
    device_reason: str
    dtype: str
    counters: dict[str, int]
    gate: GateDescription | None
    quality: QualityDescription | None
    drift: float | None


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
class UpstreamDescription:
    """Whose embeddings of text a model reduces.

    Attributes:
        model: what the upstream called its model when it was first used, or as the operator
            acknowledged; none before that.
    """

    model: str | None
