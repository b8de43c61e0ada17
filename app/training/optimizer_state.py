"""What an optimizer remembers between steps, by parameter name and torch's own key."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from app.config import ModelConfig
from app.training.numbers import is_number
from app.training.optimizers import build_optimizer
from app.training.schedule import Schedule
from app.training.stored import StoredArrays, incompatible
from app.training.trees import TENSOR, Tree, leaves, plain
from app.types import Json

# By raw parameter name, then by key.
OptimizerState: TypeAlias = dict[str, dict[str, Tree]]

# LBFGS keeps it between steps only to spare an allocation: every step writes it before reading.
_SCRATCH = frozenset({"al"})


def optimizer_state(layer: nn.Module, optimizer: Optimizer) -> OptimizerState:
    """All that the optimizer remembers, in its own memory."""
    return {
        name: {k: v for k, v in optimizer.state[parameter].items() if k not in _SCRATCH}
        for name, parameter in layer.named_parameters()
        if parameter in optimizer.state
    }


def optimizer_tensors(layer: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Its tensors as `<raw parameter name>.<key>`, those of a list as `….0`, `….1`, …."""
    return {
        place: leaf
        for name, entry in optimizer_state(layer, optimizer).items()
        for key, tree in entry.items()
        for place, leaf in leaves(tree, f"{name}.{key}")
        if isinstance(leaf, Tensor)
    }


def optimizer_scalars(layer: nn.Module, optimizer: Optimizer) -> Json | None:
    """The rest as JSON; None for an optimizer that remembers tensors only, as nearly all do."""
    entries = optimizer.state.values()
    if all(isinstance(tree, Tensor) for entry in entries for tree in entry.values()):
        return None
    return {
        name: {key: plain(tree) for key, tree in entry.items()}
        for name, entry in optimizer_state(layer, optimizer).items()
    }


def take_optimizer_state(
    stored: StoredArrays, scalars: Json | None, layer: nn.Module, config: ModelConfig
) -> OptimizerState:
    """What a record says that the optimizer remembers: all of a parameter's, or nothing yet.

    Args:
        stored: its tensors are taken.
        scalars: as `optimizer_scalars` gave them.
        layer: made from the same config.
        config: names the optimizer.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    if config.optimizer.type == LBFGS.__name__:
        return _take_lbfgs(stored, scalars, layer)
    if scalars is not None:
        raise incompatible("numbers that this optimizer does not keep")
    fresh, stepped = _templates(layer, config)
    taken: OptimizerState = {}
    for name, entry in stepped.items():
        if name in fresh or any(f"optimizer.{name}.{key}" in stored for key in entry):
            taken[name] = {
                key: stored.take_like(f"optimizer.{name}.{key}", tensor)
                for key, tensor in entry.items()
            }
    return taken


def _templates(layer: nn.Module, config: ModelConfig) -> tuple[OptimizerState, OptimizerState]:
    """What the optimizer holds before and after its first step, seen on a copy of the layer."""
    scratch = copy.deepcopy(layer)
    optimizer = build_optimizer(config.optimizer, scratch)
    Schedule(config.scheduler, optimizer)  # may set a momentum, and with it what is remembered
    fresh = optimizer_state(scratch, optimizer)
    for parameter in scratch.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return fresh, optimizer_state(scratch, optimizer)


def _take_lbfgs(stored: StoredArrays, scalars: Json | None, layer: nn.Module) -> OptimizerState:
    """LBFGS keeps everything with the first parameter, in lists that grow."""
    if scalars is None:
        return {}
    name, form = _lbfgs_form(layer)
    saved: Any = scalars.get(name) if isinstance(scalars, dict) else None
    if not isinstance(saved, dict) or len(scalars) != 1:
        raise incompatible("numbers of other parameters than this optimizer's first")
    # A step that finds no gradient at all only counts.
    if saved.keys() not in (form.keys(), {"func_evals", "n_iter"}):
        raise incompatible("another kind of memory than this optimizer has")
    if len({len(tree) for tree in saved.values() if isinstance(tree, list)}) > 1:
        raise incompatible("lists of different lengths, where this optimizer keeps pairs")
    return {
        name: {k: _taken(stored, f"optimizer.{name}.{k}", v, form[k]) for k, v in saved.items()}
    }


def _lbfgs_form(layer: nn.Module) -> tuple[str, Mapping[str, Tree]]:
    trained = {name: p for name, p in layer.named_parameters() if p.requires_grad}
    name, first = next(iter(trained.items()))
    flat = first.detach().new_empty(sum(parameter.numel() for parameter in trained.values()))
    scalar = flat.new_empty(())
    form = {"d": flat, "t": scalar, "H_diag": scalar, "prev_flat_grad": flat, "prev_loss": 0.0}
    lists = {"old_dirs": [flat], "old_stps": [flat], "ro": [scalar]}
    return name, {"func_evals": 0, "n_iter": 0, **form, **lists}


def _taken(stored: StoredArrays, name: str, saved: Tree, form: Tree) -> Tree:
    """The tree that `plain` and `leaves` made, where it has this form.

    The form is an example: a list may be of any length, and a tensor without dimensions may be a
    number as well, for torch begins with one.
    """
    if isinstance(form, list) and isinstance(saved, list):
        return [_taken(stored, f"{name}.{i}", item, form[0]) for i, item in enumerate(saved)]
    if saved == TENSOR and isinstance(form, Tensor):
        return stored.take_like(name, form)
    if is_number(saved) and (is_number(form) or (isinstance(form, Tensor) and form.ndim == 0)):
        return saved
    raise incompatible(f"something else at {name} than this optimizer keeps there")
