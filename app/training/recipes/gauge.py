"""The gauge: which of many equal bases of a subspace a moment update publishes.

# Note [A gauge that does not wander]
Eigenvectors span a subspace, and any rotation of them keeps every cosine; a stored corpus asks for
the rotation that its own version had. Turning each version onto the one before it is not enough:
the error of one turn is small, but two hundred of them in a row come to something else than one
turn from the first onto the last. So new eigenvectors are turned onto the average of the maps
before them, each counted by the square of the vectors that it is of. Then no single turn matters.
The figures of this and of other gauges are in docs/quality.md, section Gauge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from app.training.memory import KnownDigest
from app.training.stored import StoredArrays
from app.types import Json

_NAME = "Q_reduced"


class Gauge:
    """The map that eigenvectors are turned onto; see Note [A gauge that does not wander].

    A `Memory` of the learner.

    Args:
        n_components: rows of the map.
        width: columns of the map.

    Attributes:
        state: the map (n_components, width), on the CPU, never written to; None before the first
            moment update, and again after weights that came from elsewhere.
    """

    part: ClassVar[str] = "gauge"

    def __init__(self, n_components: int, width: int) -> None:
        self.state: Tensor | None = None
        self._shape = (n_components, width)
        self._digest = KnownDigest()

    def follow(self, weight: Tensor, *, grown: float) -> None:
        """Count one more map into the average.

        `A ← A + (1 - 1 / g²)(Q - A)`, which over maps `Q_i` of `n_i` vectors comes to the average
        with weights `n_i² - n_{i-1}²`.

        Args:
            weight: Q, (n_components, width), on the CPU.
            grown: g, by which factor the vectors have grown since the map before.
        """
        if self.state is None:
            self.state = weight.clone()
        else:
            self.state = torch.lerp(self.state, weight, 1 - grown**-2)

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`."""
        return {} if self.state is None else {_NAME: self.state}

    def digest(self) -> str:
        """See `Memory.digest`."""
        return self._digest.of(self.tensors())

    def scalars(self) -> Json | None:
        """See `Memory.scalars`; there are none."""
        return None

    def read(
        self,
        stored: StoredArrays,
        scalars: Json | None,  # noqa: ARG002 - a gauge has none
    ) -> Tensor | None:
        """See `Memory.read`."""
        name = f"{self.part}.{_NAME}"
        if name not in stored:
            return None
        return stored.take(name, torch.float32, self._shape, torch.device("cpu"))

    def forget(self) -> None:
        """Other weights, another space: newer versions are turned onto them."""
        self.state = None
