"""Drawing: torch's own initial weights, from a generator of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Drawing(TorchFunctionMode):
    """While it lasts, whatever `torch.nn.init` draws in this thread comes from one generator.

    A module's `reset_parameters` takes no generator, and the global one belongs to everybody.

    Args:
        generator: source of the initial weights.

    Example:
        >>> with Drawing(torch.Generator().manual_seed(3)):
        ...     first = torch.nn.Linear(2, 2)
        >>> with Drawing(torch.Generator().manual_seed(3)):
        ...     bool(torch.equal(first.weight, torch.nn.Linear(2, 2).weight))
        True
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, with the generator where one may be given and none is."""
        given = dict(kwargs or {})
        if "generator" in given and given["generator"] is None:
            given["generator"] = self._generator
        return func(*args, **given)
