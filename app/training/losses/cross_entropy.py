"""Classes, told apart by the reduced rows themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import vectors, weighted_mean


@LOSSES.register("cross_entropy")
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross entropy of a classifier whose logits are the reduced rows.

    `L = mean_i w_i · -sum_c y_ic log softmax(z_i)_c`, with y one-hot at the row's label, mixed
    with the uniform distribution by `label_smoothing`.

    Shape: z (rows, n_components), labels (rows,), whole numbers below n_components,
    sample_weights w (rows,); returns a scalar.

    Source: torch, `torch.nn.functional.cross_entropy`.
    """

    needs = frozenset({"labels"})

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def num_labels(self, n_components: int) -> int | None:
        """See `Loss.num_labels`."""
        return n_components

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.labels is not None, "check_batch refuses a batch without labels"
        losses = F.cross_entropy(
            vectors(reduced), batch.labels, reduction="none", label_smoothing=self.label_smoothing
        )
        return weighted_mean(losses, batch.sample_weights)
