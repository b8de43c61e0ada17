"""What a version makes of a batch: losses and quality metrics, without any change.

An evaluation is a function of the weights and the batch alone: candidates of the loss `distil` are
the batch's own rows, never the reservoir, and random tangents are the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from app.config import Component, ModelConfig
from app.errors import ConfigInvalid, Unacceptable
from app.layers import declared_once, is_lone_reduction, plain
from app.training.batch import TensorBatch, to_tensors
from app.training.examined import METRICS, Examined
from app.training.losses import Loss, build_loss, check_batch, check_like, check_loss, value_of
from app.types import Batch, Evaluate, Evaluation
from app.wording import offered

T = TypeVar("T", Batch, TensorBatch)

_ALL = frozenset(field.name for field in fields(Batch))
# What the metrics look at, whichever loss is asked for.
_LOOKED_AT = frozenset({"hidden_states", "positives", "mask"})


def evaluate(config: ModelConfig, tensors: Mapping[str, Tensor], asked: Evaluate) -> Evaluation:
    """Losses and metrics of these weights on a batch.

    Args:
        config: what the layers are.
        tensors: as serving multiplies with them, in float32; never written to.
        asked: its batch checked but for what the losses want.

    Raises:
        ConfigInvalid: a loss does not exist, or is asked for twice.
        Unacceptable, TooLarge: the batch does not fit a loss.
    """
    losses = _losses(config, asked)
    layer, device = plain(config, tensors), next(iter(tensors.values())).device
    check_like(asked.batch)
    with torch.no_grad():
        batch = to_tensors(asked.batch, device, config, branch=asked.branch)
        values = {
            name: value_of(loss, _part(batch, _fields(loss)), layer).item()
            for name, loss in losses.items()
        }
        tangents = None
        if asked.tangents is not None:
            rows = to_tensors(Batch(hidden_states=asked.tangents), device, config)
            tangents = rows.hidden_states
        weight = tensors["Q_reduced"] if is_lone_reduction(config) else None
        has_ids = declared_once(config).takes_ids
        examined = Examined(layer, batch, weight=weight, tangents=tangents, has_ids=has_ids)
        found = {name: metric(examined) for name, metric in METRICS.items()}
    return Evaluation(
        rows=batch.rows,
        losses={name: value if math.isfinite(value) else None for name, value in values.items()},
        metrics={name: value for name, value in found.items() if value is not None},
    )


def _losses(config: ModelConfig, asked: Evaluate) -> dict[str, Loss]:
    """The losses to compute, each checked against its part of the batch."""
    given = asked.batch.arrays().keys()
    losses: dict[str, Loss] = {}
    for place, component in enumerate(asked.losses):
        pointer = "/loss" if len(asked.losses) == 1 else f"/loss/{place}"
        if component.type in losses:
            raise ConfigInvalid(
                f"expected each loss once, by its type, got {offered(component.type)} twice",
                pointer=f"{pointer}/type",
            )
        losses[component.type] = build_loss(component, pointer=pointer)
        check_loss(losses[component.type], config, pointer=pointer)
    if not asked.losses:
        declared = {component.type: build_loss(component) for component in _declared(config)}
        losses = {name: loss for name, loss in declared.items() if loss.needs <= given}
    for loss in losses.values():
        check_batch(loss, _part(asked.batch, _fields(loss)), config)
    unused = given - _LOOKED_AT.union(*map(_fields, losses.values()))
    if unused:
        name = min(unused)
        raise Unacceptable(
            "field_not_used",
            f"neither a metric nor one of these losses uses {name}; leave them out or name a loss "
            "that does",
            pointer=f"/{name}",
        )
    return losses


def _declared(config: ModelConfig) -> tuple[Component, ...]:
    """What the model itself minimises."""
    if config.recipe == "plain":
        return (config.loss,)
    recipe = config.distil
    neighbours = {"type": "distil", "temperature": recipe.temperature}
    pairs = {"type": "contrastive", "scale": recipe.pair_scale}
    return Component.model_validate(neighbours), Component.model_validate(pairs)


def _fields(loss: Loss) -> frozenset[str]:
    return loss.needs | loss.accepts | {"hidden_states", "mask"}


def _part(batch: T, names: frozenset[str]) -> T:
    """The batch with these fields only."""
    unused: dict[str, Any] = dict.fromkeys(_ALL - names)
    return replace(batch, **unused)
