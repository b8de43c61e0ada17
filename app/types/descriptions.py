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
class UpstreamDescription:
    """Whose embeddings of text a model reduces.

    Attributes:
        model: what the upstream called its model when it was first used, or as the operator
            acknowledged; none before that.
    """

    model: str | None
