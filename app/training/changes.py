"""Changes other than steps: back to an earlier state, other weights, other learning rates.

Each sets part of a learner; raising may leave it half changed, for the caller to undo.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from app.config import MAX_LEARNING_RATE, ModelConfig
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers import assign, folded
from app.training.fits import (
    check_fittable,
    is_normalized,
    observed_moments,
    read_method,
    vectors_advised,
)
from app.training.guards import is_finite
from app.training.learner import Learner
from app.training.numbers import is_learning_rate
from app.training.optimizers import build_optimizer
from app.training.state import load_state
from app.types import Configure, Fit, NamedArrays, Replace, Rollback
from app.wording import offered


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutcome:
    """What a fit did.

    Attributes:
        rows: vectors that it was made from.
        rows_advised: from so many on, more change little.
        explained_variance: share of the spread that the weights capture.
    """

    rows: int
    rows_advised: int
    explained_variance: float

    @property
    def warning(self) -> str:
        """What to mend; empty when there is nothing."""
        if self.rows >= self.rows_advised:
            return ""
        return (
            f"made from {self.rows} vectors, where {self.rows_advised} are advised for so many "
            "components: more of them give better directions"
        )


def roll_back(learner: Learner, request: Rollback, config: ModelConfig) -> None:
    """Take an earlier state as a new version: its weights, moments, guards and steps.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    load_state(request.state, learner, config)
    learner.step = request.state.step
    learner.version += 1


def replace_weights(learner: Learner, request: Replace, config: ModelConfig) -> None:
    """Take given weights as a new version, with no step of ours behind them.

    Raises:
        ArtifactInvalid: `artifact_incompatible`: they do not fit the layer, or are not finite.
    """
    set_weights(learner, request.tensors)
    _begin_anew(learner, config)


def fit(learner: Learner, request: Fit, config: ModelConfig) -> FitOutcome:
    """Make the weights anew from the moments of data; the bias centres, or becomes zero.

    A model that observes its stream has seen those vectors from now on, where they were unit ones.

    Raises:
        ConfigInvalid: no such method, or not for this model; or the parametrization does not allow
            what it gives.
    """
    method = read_method(request.method)
    check_fittable(config, method)
    tensors = folded(learner.layer)
    n_components = next(len(t) for t in tensors.values() if t.ndim == 2)
    made = method.fitted(request.moments, n_components)
    # By the number of dimensions: the matrix is Q_reduced or weight, behind an index or not.
    given = {name: made.weight if t.ndim == 2 else made.bias for name, t in tensors.items()}
    try:
        assign(learner.layer, given)
    except ArtifactInvalid as error:
        raise ConfigInvalid(error.detail, pointer="/method") from None
    _begin_anew(learner, config)
    if learner.observed is not None and is_normalized(config, method):
        seen = observed_moments(request.moments)
        learner.observed.begin_with(seen, is_given=method.is_other)
    return FitOutcome(
        rows=request.moments.vectors,
        rows_advised=vectors_advised(n_components),
        explained_variance=made.explained_variance,
    )


def configure(learner: Learner, request: Configure) -> None:
    """Set the learning rate of every parameter group: one for all of them, or one each.

    Under a schedule it is the base rate that is set; see `Schedule.rebase`.

    Raises:
        ConfigInvalid: another number of rates, or one out of range.
    """
    groups = learner.optimizer.param_groups
    asked = request.learning_rates
    rates = asked if isinstance(asked, tuple) else (asked,) * len(groups)
    if len(rates) != len(groups):
        raise ConfigInvalid(
            "expected one number for all parameter groups, or an array with one for each of the "
            f"{len(groups)}, got an array of {len(rates)}",
            pointer="/lr",
        )
    for place, rate in enumerate(rates):
        if not is_learning_rate(rate):
            raise ConfigInvalid(
                f"expected a learning rate above 0 and of at most {MAX_LEARNING_RATE:g}, got "
                f"{offered(rate)}",
                pointer=f"/lr/{place}" if isinstance(asked, tuple) else "/lr",
            )
    learner.schedule.rebase(rates)


def set_weights(learner: Learner, tensors: NamedArrays) -> None:
    """Set the weights from plain tensors; everything else stays.

    Raises:
        ArtifactInvalid: `artifact_incompatible`; nothing was set.
    """
    weights = {name: torch.tensor(array) for name, array in tensors.items()}
    if not is_finite(weights.values()):
        raise ArtifactInvalid(
            "expected finite weights, found NaN or infinity; nothing was set",
            code="artifact_incompatible",
        )
    assign(learner.layer, weights)


def _begin_anew(learner: Learner, config: ModelConfig) -> None:
    """A new version with a fresh optimizer and guards that remember nothing.

    Learning rates and other hyper-parameters stay: they may have been set after the config. A
    schedule begins again from the base rates as they are now.
    """
    learner.optimizer.state.clear()
    learner.optimizer.state.update(build_optimizer(config.optimizer, learner.layer).state)
    for memory in learner.memories:
        memory.forget()
    learner.step = 0
    learner.version += 1
