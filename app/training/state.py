"""A trainer's state as named arrays and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import ModelConfig
from app.training.learner import Learner
from app.training.numbers import is_learning_rate, is_like, is_scheduled_rate
from app.training.optimizer_state import optimizer_scalars, optimizer_tensors, take_optimizer_state
from app.training.stored import StoredArrays, incompatible
from app.training.tensors import to_arrays
from app.types import Json, TrainerState

# Beside the groups: what an optimizer remembers in other forms than tensors.
_OPTIMIZER_STATE = "optimizer_state"


def layer_tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their raw names, a parametrization's original among them."""
    return dict(chain(layer.named_parameters(), layer.named_buffers()))


def to_state(learner: Learner) -> TrainerState:
    """Copy everything that learning needs to the host; see `live_state`."""
    state = live_state(learner)
    return replace(state, arrays={name: array.copy() for name, array in state.arrays.items()})


def live_state(learner: Learner) -> TrainerState:
    """Everything that learning needs, in the learner's own memory where that is the host's.

    Returns:
        Arrays `layer.<raw name>`, `optimizer.<raw parameter name>.<key>` and those of the
            memories, `<part>.<name>`;
        scalars with the optimizer's name, its groups, each with its hyper-parameters and parameter
        names, what it remembers beside tensors, and what the memories hold.
    """
    return TrainerState(
        version=learner.version,
        step=learner.step,
        arrays={
            f"{part}.{name}": array
            for part, tensors in live_parts(learner).items()
            for name, array in to_arrays(tensors).items()
        },
        scalars=live_scalars(learner),
    )


def live_parts(learner: Learner) -> dict[str, Mapping[str, Tensor]]:
    """The tensors that learning needs, by part and name; a part may have none."""
    return {
        **{memory.part: memory.tensors() for memory in learner.memories},
        "layer": layer_tensors(learner.layer),
        "optimizer": optimizer_tensors(learner.layer, learner.optimizer),
    }


def live_scalars(learner: Learner) -> Json:
    """What learning needs beside tensors and counters."""
    kept = optimizer_scalars(learner.layer, learner.optimizer)
    return {
        "optimizer": type(learner.optimizer).__name__,
        "groups": _groups(learner.layer, learner.optimizer),
        **({} if kept is None else {_OPTIMIZER_STATE: kept}),
        **{
            memory.part: scalars
            for memory in learner.memories
            if (scalars := memory.scalars()) is not None
        },
    }


def load_state(state: TrainerState, learner: Learner, config: ModelConfig) -> None:
    """Put a state into a learner, all but its counters; it is checked before any of it is set.

    Hyper-parameters that are numbers come from the state, since they may have been changed after
    the config was written; everything else must be as the config has it.

    Args:
        state: as `to_state` made it.
        learner: made from the same config.
        config: what the learner is.

    Raises:
        ArtifactInvalid: `artifact_incompatible`: names, shapes, dtypes or groups are not those of
            this layer and optimizer, a value is not finite, or a counter out of range.
    """
    if state.version < 1 or state.step < 0:
        raise incompatible("a version below 1 or a step below 0")
    layer, optimizer = learner.layer, learner.optimizer
    stored = StoredArrays(state.arrays)
    weights = {
        name: stored.take_like(f"layer.{name}", tensor)
        for name, tensor in layer_tensors(layer).items()
    }
    kept = take_optimizer_state(stored, state.scalars.get(_OPTIMIZER_STATE), layer, config)
    remembered = [
        memory.read(stored, state.scalars.get(memory.part)) for memory in learner.memories
    ]
    stored.check_all_taken()
    groups = _merged_groups(state.scalars, layer, optimizer, is_scheduled=bool(config.scheduler))
    with torch.no_grad():
        for name, tensor in layer_tensors(layer).items():
            tensor.copy_(weights[name])
    optimizer.state.clear()
    for name, parameter in layer.named_parameters():
        if name in kept:
            optimizer.state[parameter] = kept[name]
    for group, hyper_parameters in zip(optimizer.param_groups, groups, strict=True):
        group.update(hyper_parameters)
    for memory, memory_state in zip(learner.memories, remembered, strict=True):
        memory.state = memory_state


def _groups(layer: nn.Module, optimizer: Optimizer) -> list[Json]:
    names = {parameter: name for name, parameter in layer.named_parameters()}
    return [
        {
            "parameters": [names[parameter] for parameter in group["params"]],
            **{
                k: list(v) if isinstance(v, tuple) else v for k, v in group.items() if k != "params"
            },
        }
        for group in optimizer.param_groups
    ]


def _merged_groups(
    scalars: Json, layer: nn.Module, optimizer: Optimizer, *, is_scheduled: bool
) -> list[Json]:
    """Each group's hyper-parameters as the state has them, when they fit this optimizer's."""
    saved: Any = scalars.get("groups")
    if scalars.get("optimizer") != type(optimizer).__name__:
        raise incompatible(f"the state of another optimizer than {type(optimizer).__name__}")
    if not is_like(saved, _groups(layer, optimizer)):
        raise incompatible("other parameter groups or arguments than the config's")
    is_in_range = is_scheduled_rate if is_scheduled else is_learning_rate
    if not all(is_in_range(group["lr"]) for group in saved):
        raise incompatible("a learning rate out of range")
    return [
        {k: tuple(v) if isinstance(v, list) else v for k, v in group.items() if k != "parameters"}
        for group in saved
    ]
