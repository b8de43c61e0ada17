"""A trainer's state as named arrays and JSON, and back."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import OptimizerConfig
from app.errors import ArtifactInvalid
from app.training.guards import is_finite
from app.training.optimizers import build_optimizer, is_learning_rate, is_number
from app.types import Json, TrainerState

# The optimizer's tensors, by parameter name and then by torch's own key.
Moments: TypeAlias = dict[str, dict[str, Tensor]]


def layer_tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their raw names, a parametrization's original among them."""
    return dict(chain(layer.named_parameters(), layer.named_buffers()))


def to_state(layer: nn.Module, optimizer: Optimizer, *, version: int, step: int) -> TrainerState:
    """Copy everything that learning needs to the host.

    Returns:
        Arrays `layer.<raw name>` and `optimizer.<raw parameter name>.<key>`; scalars with the
        optimizer's name and its groups, each with its hyper-parameters and parameter names.
    """
    tensors = {f"layer.{name}": tensor for name, tensor in layer_tensors(layer).items()}
    for name, entry in _moments(layer, optimizer).items():
        tensors |= {f"optimizer.{name}.{key}": tensor for key, tensor in entry.items()}
    return TrainerState(
        version=version,
        step=step,
        arrays={
            name: tensor.detach().to("cpu", copy=True).numpy() for name, tensor in tensors.items()
        },
        scalars={"optimizer": type(optimizer).__name__, "groups": _groups(layer, optimizer)},
    )


def load_state(
    state: TrainerState, layer: nn.Module, optimizer: Optimizer, config: OptimizerConfig
) -> None:
    """Put a state into a layer and its optimizer; all of it is checked before any of it is set.

    Hyper-parameters that are numbers come from the state, since they may have been changed after
    the config was written; everything else must be as the config has it.

    Raises:
        ArtifactInvalid: `artifact_incompatible`: names, shapes, dtypes or groups are not those of
            this layer and optimizer, or a value is not finite.
    """
    left = dict(state.arrays)
    weights = {
        name: _take(left, f"layer.{name}", like=tensor)
        for name, tensor in layer_tensors(layer).items()
    }
    moments = _take_moments(left, layer, config)
    if left:
        raise _incompatible(f"{len(left)} arrays that this layer and optimizer do not have")
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


def _take_moments(
    left: dict[str, NDArray[Any]], layer: nn.Module, config: OptimizerConfig
) -> Moments:
    """Move the optimizer's tensors out of `left`: all of a parameter's, or none before a step."""
    fresh, stepped = _templates(layer, config)
    moments: Moments = {}
    for name, entry in stepped.items():
        if name in fresh or any(f"optimizer.{name}.{key}" in left for key in entry):
            moments[name] = {
                key: _take(left, f"optimizer.{name}.{key}", like=tensor)
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


def _take(left: dict[str, NDArray[Any]], name: str, *, like: Tensor) -> Tensor:
    """Move one array out of `left`, as a tensor of its own memory on the device of `like`."""
    if name not in left:
        raise _incompatible(f"no array {name}")
    array = left.pop(name)
    dtype = str(like.dtype).removeprefix("torch.")
    if (array.dtype.name, array.shape) != (dtype, tuple(like.shape)):
        raise _incompatible(
            f"{name} of {array.dtype.name} {list(array.shape)}, "
            f"where {dtype} {list(like.shape)} belongs"
        )
    tensor = torch.tensor(array, device=like.device)
    if not is_finite([tensor]):
        raise _incompatible(f"a value in {name} that is not finite")
    return tensor


def _merged_groups(scalars: Json, layer: nn.Module, optimizer: Optimizer) -> list[Json]:
    """Each group's hyper-parameters as the state has them, when they fit this optimizer's."""
    saved: Any = scalars.get("groups")
    if scalars.get("optimizer") != type(optimizer).__name__:
        raise _incompatible(f"the state of another optimizer than {type(optimizer).__name__}")
    if not _is_like(saved, _groups(layer, optimizer)):
        raise _incompatible("other parameter groups or arguments than the config's")
    if not all(is_learning_rate(group["lr"]) for group in saved):
        raise _incompatible("a learning rate out of range")
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


def _incompatible(found: str) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"expected the trainer state of this model's layer and optimizer, found {found}; "
        "nothing was loaded",
        code="artifact_incompatible",
    )
