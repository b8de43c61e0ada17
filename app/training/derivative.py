"""Forward-mode derivatives of the layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from app.errors import Unacceptable
from app.layers import Context, forward

# torch itself compiles some derivatives by it, when the first one is asked for.
warnings.filterwarnings(
    "ignore", message=".torch.jit.script. is deprecated", category=DeprecationWarning
)


class _PlainAttention(TorchFunctionMode):
    """Attention by its own formula, in this thread: the fused kernels have no forward derivative.

    torch's own switch of kernels is for the whole process, whose other threads train.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; attention that tells its weights takes no fused kernel."""
        given = dict(kwargs or {})
        if function is F.multi_head_attention_forward:
            given["need_weights"] = True
        return function(*args, **given)


def directional_derivative(
    layer: nn.Module, rows: Tensor, tangents: Tensor, context: Context
) -> tuple[Tensor, Tensor]:
    """What layers make of rows, and how that changes as each row moves along its tangent.

    `d_i = J(x_i) v_i`, with J the Jacobian of the layers at the row, in one forward pass with dual
    numbers; for a linear layer `d = v Qᵀ`, wherever the row is.

    Args:
        layer: nobody else's: its parameters are made to want gradients, since attention that wants
            none takes a short way that has no derivative.
        rows: where.
        tangents: along which direction; v above.
        context: what the request says beside its rows.

    Shape: rows and tangents (rows, *input_shape); returns reduced and d, (rows, *output_shape).

    Raises:
        Unacceptable: `derivative_unsupported`: torch has no such derivative for these layers.
    """
    try:
        try:
            return _dual(layer, rows, tangents, context)
        except NotImplementedError:  # for an operation without a forward derivative
            # Fused kernels of recurrent layers are for float32, and have none; the others have one.
            exact = copy.deepcopy(layer).double()
            pair = _dual(exact, rows.double(), tangents.double(), context)
            return pair[0].to(rows.dtype), pair[1].to(rows.dtype)
    except NotImplementedError:
        raise Unacceptable(
            "derivative_unsupported",
            "torch has no forward-mode derivative for one of this model's layers; use a model "
            "without it",
        ) from None


def _dual(
    layer: nn.Module, rows: Tensor, tangents: Tensor, context: Context
) -> tuple[Tensor, Tensor]:
    """One forward pass with dual numbers; see `directional_derivative`."""
    layer.requires_grad_(True)

    def reduce(states: Tensor) -> Tensor:
        return forward(layer, states, context)

    with torch.enable_grad(), _PlainAttention():
        found = torch.func.jvp(reduce, (rows,), (tangents,))
    return found[0].detach(), found[1].detach()
