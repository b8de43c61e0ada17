"""What a registered layer is: how it is checked, what shape it gives, how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from app.registry import Registry

# Of one row, without the dimension that counts rows; None: any length.
Shape: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a request says to layers beside its hidden_states.

    Shape: mask (rows, length), bool: True for a token that counts.

    Attributes:
        branch: which named branch is asked for; None for the first one.
    """

    mask: Tensor | None = None
    branch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A layer whose arguments fit, before any memory is spent on it.

    Attributes:
        make: draws the initial weights from a generator and constructs the module.
        output: what the layer makes of one row.
        takes_context: whether its forward takes `(rows, context)` instead of `(rows)`.
    """

    make: Callable[[torch.Generator], nn.Module]
    output: Shape
    takes_context: bool = False


class Kind(Protocol):
    """One member of the registry of layers; its docstring is its line in docs/registries.md."""

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """Check arguments against the shape of one row, and tell the shape of the output.

        Args:
            arguments: every key beside `type`, as the config gives it.
            shape: of one row, as the layer before gives it.
            pointer: where the layer stands in the config.

        Raises:
            ConfigInvalid: with the pointer of the fault; the message gives the offered value and
                what is allowed.
        """
        ...


KINDS: Registry[Kind] = Registry("layer")
