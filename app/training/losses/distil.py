"""Neighbourhoods of the full vectors, kept by the reduced ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import are_same, counted, unit_rows, vectors, weighted_mean, without


@LOSSES.register("distil")
@dataclass(frozen=True)
class Distil(Loss):
    """Divergence of the softmaxed cosines to candidates, after reduction, from those before it.

    `L = mean_i w_i · KL(softmax_j(cos(x_i, c_j) / t) ‖ softmax_j(cos(z_i, f(c_j)) / s t))`, with
    the candidates c from the model's reservoir where it keeps one, else the other rows of the batch
    (c_j = x_j then counts w_j times), f the layers, t the temperature and s its softening. A
    candidate that is the row itself, or an exact duplicate of it, is left out; a row without
    candidates counts 0. The scale of x, c and z does not matter. Memory grows with
    rows · candidates.

    In small batches the reservoir is worth having: with few candidates the softmax over the full
    cosines is nearly one-hot.

    Shape: x (rows, *input_shape), c (candidates, input_size), z (rows, *output_shape),
    sample_weights w (rows,); returns a scalar.

    Source: sentence-transformers, losses/DistillKLDivLoss.py (one temperature, times its square);
    remembered candidates: Fang et al. 2021, arXiv 2101.04731, abstract. What is left out is ours.
    """

    max_rows = MAX_PAIRED_ROWS
    uses_bank = True

    temperature: Annotated[float, Field(ge=1e-3, le=10)] = 0.05
    softening: Annotated[float, Field(ge=0.5, le=2)] = 1.0

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        full, small = unit_rows(vectors(batch.hidden_states)), unit_rows(vectors(reduced))
        if batch.bank is None:
            candidates, reduced_candidates, weights = full, small, batch.sample_weights
        else:
            candidates, weights = batch.bank, None
            reduced_candidates = unit_rows(vectors(reducer(batch.bank)))
        cosines = full @ candidates.mT  # once: it is a fifth of a step
        left_out = are_same(cosines)
        if batch.bank is None:
            left_out.fill_diagonal_(True)

        def log_shares(cosines: Tensor, temperature: float) -> Tensor:
            logits = counted(cosines / temperature, weights)
            return F.log_softmax(without(logits, left_out), dim=-1)

        wanted = log_shares(cosines, self.temperature).detach()
        cosines = small @ reduced_candidates.mT
        found = log_shares(cosines, self.softening * self.temperature)
        divergences = F.kl_div(found, wanted, reduction="none", log_target=True)
        return weighted_mean(divergences.sum(dim=-1), batch.sample_weights)
