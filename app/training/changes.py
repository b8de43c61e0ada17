"""Changes other than steps: back to an earlier state, other weights, other learning rates.

Each sets part of a learner; raising may leave it half changed, for the caller to undo.
"""

from __future__ import annotations

import torch

from app.config import MAX_LEARNING_RATE, Component, ModelConfig
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers import INITIALISERS, assign, build, folded
from app.training.guards import is_finite
from app.training.learner import Learner
from app.training.optimizers import build_optimizer, is_learning_rate
from app.training.state import load_state
from app.types import Configure, Fit, NamedArrays, Replace, Rollback


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


def fit(learner: Learner, request: Fit, config: ModelConfig) -> None:
    """Make the weights anew from data; a bias becomes zero.

    Raises:
        ConfigInvalid: no such initialiser, or the data is not what it needs.
    """
    INITIALISERS.choose(request.method, pointer="/method")
    (component,) = config.layers
    layer = Component.model_validate({**component.model_dump(), "init": request.method})
    sample = torch.tensor(request.hidden_states).reshape(-1, request.hidden_states.shape[-1])
    try:
        made = build(config.model_copy(update={"layers": (layer,)}), sample=sample)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer="/hidden_states") from None
    assign(learner.layer, folded(made))
    _begin_anew(learner, config)


def configure(learner: Learner, request: Configure) -> None:
    """Set the learning rate of every parameter group: one for all of them, or one each.

    Raises:
        ConfigInvalid: another number of rates, or one out of range.
    """
    groups = learner.optimizer.param_groups
    rates = request.learning_rates
    if len(rates) not in {1, len(groups)}:
        raise ConfigInvalid(
            f"expected one learning rate, or one for each of the {len(groups)} parameter groups, "
            f"got {len(rates)}",
            pointer="/lr",
        )
    if not all(is_learning_rate(rate) for rate in rates):
        raise ConfigInvalid(
            f"expected a learning rate above 0 and of at most {MAX_LEARNING_RATE:g}", pointer="/lr"
        )
    for group, rate in zip(groups, rates if len(rates) > 1 else rates * len(groups), strict=True):
        group["lr"] = rate


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

    Learning rates and other hyper-parameters stay: they may have been set after the config.
    """
    learner.optimizer.state.clear()
    learner.optimizer.state.update(build_optimizer(config.optimizer, learner.layer).state)
    for memory in learner.memories:
        memory.forget()
    learner.step = 0
    learner.version += 1
