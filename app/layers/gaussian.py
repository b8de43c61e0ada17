"""The variational bottleneck: a distribution over reduced vectors in training, its mean after."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from app.layers.penalty import Penalised

# e^-2 = 0.14 of a standard deviation: noise that the first steps can look through. With a variance
# of 1 the mean would drown, and the heads would learn to say nothing.
_FIRST_LOG_VARIANCE = -4.0


class Gaussian(Penalised):
    """A Gaussian around each reduced vector, with a learned variance.

    In training `z = m(x) + exp(½ v(x)) ε` with ε standard normal (reparameterised, so that
    gradients reach both heads), in evaluation `z = m(x)`; m and the log-variance v are linear maps.

    A training step adds `kl_weight · min(1, step / kl_warm_up) · KL`, with the closed form
    `KL = ½ sum(m² + exp(v) - v - 1)` against the standard normal, summed over components and
    averaged over rows.

    Args:
        n_components: width of the output.
        input_size: width of the input.
        bias: whether the mean has one.
        kl_weight: of the divergence.
        kl_warm_up: steps over which it rises from nothing; 0 for none.

    Shape: x `(…, input_size)`; returns `(…, n_components)`.
    """

    draws = True

    def __init__(
        self,
        n_components: int,
        input_size: int,
        bias: bool = True,
        kl_weight: float = 1e-3,
        kl_warm_up: int = 0,
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(input_size, n_components, bias=bias)
        self.log_variance = nn.Linear(input_size, n_components)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, _FIRST_LOG_VARIANCE)
        self.kl_weight = kl_weight
        self.kl_warm_up = kl_warm_up
        self._divergences: list[Tensor] = []

    def forward(self, rows: Tensor) -> Tensor:
        """A sample in training, the mean in evaluation."""
        mean: Tensor = self.mean(rows)
        if not self.training:
            return mean
        spread: Tensor = (0.5 * self.log_variance(rows)).exp()
        if torch.is_grad_enabled():
            self._divergences.append(divergence(mean, spread))
        return mean + spread * torch.randn_like(spread)

    def forget(self) -> None:
        """See `Penalised.forget`."""
        self._divergences.clear()

    def penalty(self, step: int) -> Tensor:
        """See `Penalised.penalty`."""
        share = min(1.0, step / self.kl_warm_up) if self.kl_warm_up else 1.0
        return self.kl_weight * share * torch.stack(self._divergences).mean()


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """How far Gaussians are from the standard normal: the KL divergence, in nats.

    Shape: mean, spread (standard deviation) (…, n_components); returns a scalar: summed over
    components, averaged over rows.
    """
    # Not validated: what is not finite must reach the guards, which say so by name.
    posterior = Normal(mean, spread, validate_args=False)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(spread), validate_args=False)
    apart: Tensor = kl_divergence(posterior, prior)
    return apart.sum(dim=-1).mean()
