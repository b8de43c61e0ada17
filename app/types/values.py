"""Values that every room speaks: arrays, stamps, states; immutable, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.config import ModelConfig

FloatArray: TypeAlias = NDArray[np.float32]
NamedArrays: TypeAlias = Mapping[str, NDArray[Any]]
Json: TypeAlias = dict[str, Any]
Origin: TypeAlias = Literal["initial", "import", "checkpoint"]
Serving: TypeAlias = int | Literal["live"]


def first_outside(is_right: NDArray[np.bool_] | np.bool_) -> str:
    """JSON pointer, from the array, to the first entry that is not as it must be: `/3/0`.

    A message gives the place of a number of a batch, and never the number.
    """
    index = np.unravel_index(int(np.argmin(is_right)), is_right.shape)
    return "".join(f"/{int(step)}" for step in index)


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
class Beside:
    """What a reduce says beside its rows, for layers that look at it.

    Shape: mask `(…, length)`, with the leading dimensions of the rows.

    Attributes:
        mask: 1 for a token that counts, 0 for one that does not.
        branch: which named branch is asked for; None for the first one.
    """

    mask: FloatArray | None = None
    branch: str | None = None


NOTHING_BESIDE = Beside()


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
