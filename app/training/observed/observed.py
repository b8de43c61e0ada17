"""The memory of what a model observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from app.codecs import joined_blocks
from app.config import MAX_OBSERVED, ModelConfig
from app.errors import ConfigInvalid
from app.training.batch import TensorBatch
from app.training.observed.drift import Drift
from app.training.observed.held_out import HELD_OUT_EVERY
from app.training.observed.mirror import Mirror
from app.training.observed.moments import Moments
from app.training.observed.record import from_record, to_rows, to_scalars
from app.training.observed.state import ObservedState
from app.training.observed.unit_vectors import UnitVectors
from app.training.randomness import derived_seed
from app.training.stored import StoredArrays
from app.types import Json

# What the profile `fast` keeps: the newest vectors, so that those of before are soon forgotten.
_WINDOW = 2048


class Observed:
    """Moments, reservoir, held-out vectors and drift of a model's stream.

    A `Memory` of the learner. Memory at most, for vectors of `d` values and a reservoir of `M`:
    8 M d bytes for the reservoir and its mirror, 8 d² for the second moment (4 d² above a width
    of 2,048) and as much again once pairs come, 2 KiB · d of rows that are not in it yet, and
    8 d for each held-out vector with its positive. At 384 values: about 13 + 1.2 + 0.8 + 6 MB.

    Args:
        config: how much is kept, and its seed.
        device: where the bank is used; everything else stays on the CPU.
        holds_out: whether every 20th vector is kept aside.

    Attributes:
        state: what was observed.
    """

    part: ClassVar[str] = "observed"

    def __init__(self, config: ModelConfig, device: torch.device, *, holds_out: bool) -> None:
        self._is_window = config.recipe == "distil" and config.distil.profile == "fast"
        capacity = config.observed.reservoir
        self._empty = ObservedState.empty(
            config.input_size,
            reservoir=min(capacity, _WINDOW) if self._is_window else capacity,
            held_out=config.gate.rows,
        )
        self._seed = config.seed
        self._holds_out = holds_out
        self._mirror = Mirror(device, self._empty.reservoir.capacity)
        self.state = self._empty

    def bank(self) -> Tensor | None:
        """The reservoir as one tensor on the device, valid until the next call; None while empty.

        Shape: returns (vectors, width).
        """
        rows = self.state.reservoir.rows
        return self._mirror.of(rows) if rows.count else None

    def split(self, vectors: UnitVectors) -> tuple[UnitVectors, UnitVectors]:
        """Those of a batch to train on, and those to keep aside; zero rows are in neither."""
        places = self.state.offered + torch.arange(vectors.count, device=vectors.vectors.device)
        is_held = (places + 1) % HELD_OUT_EVERY == 0
        if not self._holds_out:
            is_held = torch.zeros_like(is_held)
        return vectors.chosen(~is_held), vectors.chosen(is_held)

    def add(
        self, trained: UnitVectors, held_out: UnitVectors | None, *, rows: int, version: int
    ) -> None:
        """Observe the vectors of a step.

        Args:
            trained: those that it learns from.
            held_out: those that it keeps aside.
            rows: of the whole batch.
            version: of the model before the step; with the config's seed it decides what the
                reservoir keeps.
        """
        state = self.state
        if trained.count:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, version))
            state = state.extended(trained.cpu(), None if self._is_window else generator)
        if held_out is not None and held_out.count:
            state = state.holding_out(held_out.cpu())
        self.state = replace(state, offered=state.offered + rows)

    def add_batch(self, batch: TensorBatch, *, version: int) -> None:
        """Observe every vector of a step that nothing is kept aside of; see `add`."""
        vectors = UnitVectors.of(batch.hidden_states, batch.positives)
        everyone = torch.ones(vectors.count, dtype=torch.bool, device=vectors.vectors.device)
        self.add(vectors.chosen(everyone), None, rows=batch.rows, version=version)

    def measure(self, share: float, vectors: int) -> None:
        """Note which share of their energy the map captured of so many vectors."""
        self.state = replace(self.state, drift=self.state.drift.following(share, vectors))

    def begin_with(self, moments: Moments, *, is_given: bool) -> None:
        """Start anew as if the vectors of these moments had been seen, and none of them kept.

        Args:
            moments: of unit vectors.
            is_given: the weights are others than the leading eigenvectors of these moments.
        """
        self.state = replace(self._empty, moments=moments, is_given=is_given)

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`."""
        return {name: rows.tensor() for name, rows in to_rows(self.state).items()}

    def digest(self) -> str:
        """See `Memory.digest`, of the form in Note [Blocks of rows] of `app.codecs.digest`."""
        named = to_rows(self.state)
        return joined_blocks({name: rows.digest() for name, rows in named.items()}) if named else ""

    def scalars(self) -> Json | None:
        """See `Memory.scalars`."""
        return to_scalars(self.state)

    def read(self, stored: StoredArrays, scalars: Json | None) -> ObservedState:
        """See `Memory.read`."""
        return from_record(stored, scalars, self._empty)

    def forget(self) -> None:
        """Other weights: what was seen of the stream is as true as before, the drift is not."""
        self.state = replace(self.state, drift=Drift(), is_given=True)


def check_observable(config: ModelConfig, *, pointer: str) -> None:
    """Refuse hidden states that are no vectors, or too wide for a second moment.

    Raises:
        ConfigInvalid: at the pointer.
    """
    if config.input_shape or config.input_size > MAX_OBSERVED:
        raise ConfigInvalid(
            f"moments and a reservoir are kept of vectors of at most {MAX_OBSERVED} values, got "
            f"rows of shape {list(config.input_shape or [config.input_size])}; leave this out",
            pointer=pointer,
        )
