"""Signum: the sign of the gradient's running mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Signum(Optimizer):
    """Moves every entry by exactly the learning rate, along the sign of a running mean.

    `m ← β m + (1 - β) g`, then `p ← (1 - lr · weight_decay) p - lr · sign(m)`. With β = 0 it is
    sign-SGD and keeps no state. The step does not depend on the gradient's scale.

    Args:
        params: parameters, or groups of them.
        lr: how far each entry moves in a step.
        momentum: β, at least 0 and below 1.
        weight_decay: decoupled: it shrinks the weights, and never enters the running mean.

    Raises:
        ValueError: an argument outside its range.

    Source: the update is the one that the documentation of optax.signum states; the method is
        Bernstein et al. 2018 (arXiv 1802.04434), which was not opened for this.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        if not lr >= 0.0:
            raise ValueError(f"expected lr of at least 0, got {lr}")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"expected momentum of at least 0 and below 1, got {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"expected weight_decay of at least 0, got {weight_decay}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        direction = gradient
        if group["momentum"] > 0:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            direction = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        if group["weight_decay"] > 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.sign(), alpha=-group["lr"])
