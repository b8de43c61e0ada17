"""A trainer's state as named arrays and JSON, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import ModelConfig, OptimizerConfig
from app.training.learner import Learner
from app.training.optimizers import build_optimizer, is_learning_rate, is_number
from app.training.stored import StoredArrays, incompatible
from app.training.tensors import to_arrays
from app.types import Json, TrainerState

# The optimizer's tensors, by parameter name and then by torch's own key.
Moments: TypeAlias = dict[str, dict[str, Tensor]]


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
        names, and what the memories hold.
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
        "optimizer": optimizer_tensors(learner),
    }


def optimizer_tensors(learner: Learner) -> Mapping[str, Tensor]:
    """The optimizer's tensors as `<raw parameter name>.<key>`."""
    return {
        f"{name}.{key}": tensor
        for name, entry in _moments(learner.layer, learner.optimizer).items()
        for key, tensor in entry.items()
    }


def live_scalars(learner: Learner) -> Json:
    """What learning needs beside tensors and counters."""
    return {
        "optimizer": type(learner.optimizer).__name__,
        "groups": _groups(learner.layer, learner.optimizer),
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
    moments = _take_moments(stored, layer, config.optimizer)
    remembered = [
        memory.read(stored, state.scalars.get(memory.part)) for memory in learner.memories
    ]
    stored.check_all_taken()
    groups = _merged_groups(state.scalars, layer, optimizer)
    with torch.no_grad():
        for name, tensor in layer_tensors(layer).items():
            tensor.copy_(weights[name])
    optimizer.state.clear()
    for name, parameter in layer.named_parameters():
        if name in moments:
            optimizer.state[parameter] = moments[name]
    for group, hyper_parameters in zip(optimizer.param_groups, groups, strict=True):
        group.update(hyper_parameters)
    for memory, memory_state in zip(learner.memories, remembered, strict=True):
        memory.state = memory_state


def _moments(layer: nn.Module, optimizer: Optimizer) -> Moments:
    return {
        name: {k: v for k, v in optimizer.state[parameter].items() if isinstance(v, Tensor)}
        for name, parameter in layer.named_parameters()
        if parameter in optimizer.state
    }


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


def _take_moments(stored: StoredArrays, layer: nn.Module, config: OptimizerConfig) -> Moments:
    """The optimizer's tensors: all of a parameter's, or none before a step."""
    fresh, stepped = _templates(layer, config)
    moments: Moments = {}
    for name, entry in stepped.items():
        if name in fresh or any(f"optimizer.{name}.{key}" in stored for key in entry):
            moments[name] = {
                key: stored.take_like(f"optimizer.{name}.{key}", tensor)
                for key, tensor in entry.items()
            }
    return moments


def _templates(layer: nn.Module, config: OptimizerConfig) -> tuple[Moments, Moments]:
    """What the optimizer holds before and after its first step, seen on a copy of the layer."""
    scratch = copy.deepcopy(layer)
    optimizer = build_optimizer(config, scratch)
    fresh = _moments(scratch, optimizer)
    for parameter in scratch.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return fresh, _moments(scratch, optimizer)


def _merged_groups(scalars: Json, layer: nn.Module, optimizer: Optimizer) -> list[Json]:
    """Each group's hyper-parameters as the state has them, when they fit this optimizer's."""
    saved: Any = scalars.get("groups")
    if scalars.get("optimizer") != type(optimizer).__name__:
        raise incompatible(f"the state of another optimizer than {type(optimizer).__name__}")
    if not _is_like(saved, _groups(layer, optimizer)):
        raise incompatible("other parameter groups or arguments than the config's")
    if not all(is_learning_rate(group["lr"]) for group in saved):
        raise incompatible("a learning rate out of range")
    return [
        {k: tuple(v) if isinstance(v, list) else v for k, v in group.items() if k != "parameters"}
        for group in saved
    ]


def _is_like(saved: object, live: object) -> bool:
    """Whether two JSON values are the same except for the values of numbers."""
    if is_number(live):
        return is_number(saved)
    if isinstance(live, dict):
        return (
            isinstance(saved, dict)
            and saved.keys() == live.keys()
            and all(_is_like(saved[key], value) for key, value in live.items())
        )
    if isinstance(live, list):
        return (
            isinstance(saved, list) and len(saved) == len(live) and all(map(_is_like, saved, live))
        )
    return type(saved) is type(live) and saved == live
