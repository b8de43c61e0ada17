"""What a registered layer is: how it is checked, what shape it gives, how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

from app.registry import Registry

# Of one row, without the dimension that counts rows; None: any length.
Shape: TypeAlias = tuple[int | None, ...]
# From the tensors of a layer, by its own names, to what it makes of rows.
Direct: TypeAlias = Callable[[Mapping[str, Tensor]], Callable[[Tensor], Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a request says to layers beside its hidden_states.

    Shape: mask (rows, length), bool: True for a token that counts.

    Attributes:
        branch: which named branch is asked for; None for the first one.
    """

    mask: Tensor | None = None
    branch: str | None = None


NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A layer whose arguments fit, before any memory is spent on it.

    Attributes:
        make: constructs the module. For training it is called where all that `torch.nn.init`
            draws comes from the model's seed; for serving under `torch.device("meta")`, where
            nothing is drawn and no memory taken: its tensors are then the folded ones.
        output: what the layer makes of one row.
        begin: what only a module that trains gets after `make`: initial weights other than
            torch's, constraints.
        takes_context: whether its forward takes `(rows, context)` instead of `(rows)`.
        direct: what the layer computes with given tensors, without a module in between; for
            layers that are often the only one.
        widest: how many numbers of one row it holds at once, where that is more than its output.
        multiply_adds: about how many one row costs, where that is more than its weights: a
            convolution applies each of them at many places.
        adds_bias: whether the last thing it does is to add a trained bias, one number for each
            place in the first dimension of a row.
        centres: whether the first thing it does is to subtract a mean over the batch, one for each
            place in the first dimension.
        uses_mask: whether it looks at the context's mask.
        takes_ids: whether its rows are whole numbers, each of which stands for something; a
            narrower float would make others of them.
        branches: names that a request may choose from; the first is the default.
        warnings: what is allowed and does nothing; sentences that begin with a pointer.
    """

    make: Callable[[], nn.Module]
    output: Shape
    begin: Callable[[nn.Module], None] | None = None
    takes_context: bool = False
    direct: Direct | None = None
    widest: int = 0
    multiply_adds: int = 0
    adds_bias: bool = False
    centres: bool = False
    uses_mask: bool = False
    takes_ids: bool = False
    branches: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
