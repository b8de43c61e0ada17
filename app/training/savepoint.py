"""A savepoint: everything that a step may change, kept beside it to be put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from app.training.learner import Learner
from app.training.state import layer_tensors
from app.training.trees import copied, leaves


class Savepoint:
    """Parameters, buffers, optimizer state, hyper-parameters, memories, counters as they were.

    Taking it again reuses its memory. Restoring writes into the live tensors, so that
    parameters keep their identity, and removes optimizer state that was not there (Adam's moments
    come into being in the first step).

    Args:
        learner: what is remembered.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._tensors: dict[str, Any] = {}
        self._state: dict[Tensor, dict[str, Any]] = {}
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Remember what is now."""
        self._tensors = _copied(layer_tensors(self._learner.layer), over=self._tensors)
        self._state = {
            parameter: _copied(entry, over=self._state.get(parameter, {}))
            for parameter, entry in self._learner.optimizer.state.items()
        }
        self._groups = [_hyper_parameters(group) for group in self._learner.optimizer.param_groups]
        self._memories = [memory.state for memory in self._learner.memories]
        self._version, self._step = self._learner.version, self._learner.step

    def tensors(self) -> Iterator[Tensor]:
        """What is kept, in memory that stays the same while the forms do."""
        entries = chain([self._tensors], self._state.values())
        for value in chain.from_iterable(entry.values() for entry in entries):
            yield from (leaf for _, leaf in leaves(value, "") if isinstance(leaf, Tensor))

    @torch.no_grad()
    def restore(self) -> None:
        """Make everything as it was when the savepoint was last taken."""
        _copied(self._tensors, over=layer_tensors(self._learner.layer))
        live = self._learner.optimizer.state
        for parameter in live.keys() - self._state.keys():
            del live[parameter]
        for parameter, entry in self._state.items():
            live[parameter] = _copied(entry, over=live[parameter])
        for group, hyper_parameters in zip(
            self._learner.optimizer.param_groups, self._groups, strict=True
        ):
            group.update(hyper_parameters)
        for memory, state in zip(self._learner.memories, self._memories, strict=True):
            memory.state = state
        self._learner.version, self._learner.step = self._version, self._step


def _hyper_parameters(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _copied(source: Mapping[str, Any], *, over: Mapping[str, Any]) -> dict[str, Any]:
    return {name: copied(value, over.get(name)) for name, value in source.items()}
