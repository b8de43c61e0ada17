"""Examinations: what looks at versions of a model, in whatever thread calls it."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from app.config import ModelConfig
from app.engine.snapshot import Snapshot, to_arrays
from app.training.alignment import cross, rotation_of_rows, rotation_of_weights
from app.training.observed import ObservedState
from app.training.quality import take_quality
from app.training.remembered import Remembered
from app.training.trainer import Trainer
from app.types import Alignment, Compatibility, QualityDescription


class Examination:
    """Looks at versions by what a model remembered at one moment; that is None while too little.

    All that it looks at is immutable, so that training may go on meanwhile.

    Args:
        config: what the model is.
        newest: the version of that moment.
        observed: what the model had seen then.
    """

    def __init__(self, config: ModelConfig, newest: Snapshot, observed: ObservedState) -> None:
        self._config = config
        self._newest = newest
        self._observed = observed

    def quality(self, *, at: str) -> QualityDescription | None:
        """What the newest version keeps of the vectors; `at` is the time, for people."""
        if self._remembered is None:
            return None
        version, tensors = self._newest.stamp.version, self._newest.tensors
        return take_quality(self._config, tensors, self._remembered, version=version, at=at)

    @torch.no_grad()
    def compatibility(self, before: Snapshot) -> Compatibility | None:
        """How queries of the newest version do in a corpus that another one made."""
        remembered = self._remembered
        if remembered is None:
            return None
        queries, corpus = self._reduced(self._newest), self._reduced(before)
        found, usual = cross(queries, corpus, remembered), cross(corpus, corpus, remembered)
        return Compatibility(
            version=self._newest.stamp.version,
            corpus_version=before.stamp.version,
            vectors=len(remembered.vectors),
            queries=len(remembered.queries),
            cosine=found.cosine,
            nn10=found.nn10,
            nn10_before=usual.nn10,
            kept=found.nn10 / usual.nn10 if usual.nn10 else None,
        )

    @torch.no_grad()
    def alignment(self, version: Snapshot, to: Snapshot) -> Alignment | None:
        """What turns the vectors of one version into the space of another."""
        remembered = self._remembered
        if remembered is None:
            return None
        queries, corpus = self._reduced(version), self._reduced(to)
        weights = _matrix(version), _matrix(to)
        if weights[0] is None or weights[1] is None:
            rotation, aligned_by = rotation_of_rows(queries, corpus)
        else:
            rotation, aligned_by = rotation_of_weights(weights[0], weights[1], remembered)
        rotation = rotation.to(torch.float32)
        raw, aligned = (cross(rows, corpus, remembered) for rows in (queries, queries @ rotation))
        return Alignment(
            rotation=to_arrays({"rotation": rotation.contiguous()})["rotation"],
            stamp=version.stamp,
            to=to.stamp,
            aligned_by=aligned_by,
            vectors=len(remembered.vectors),
            queries=len(remembered.queries),
            cosine=raw.cosine,
            cosine_aligned=aligned.cosine,
            nn10=raw.nn10,
            nn10_aligned=aligned.nn10,
            nn10_own=cross(corpus, corpus, remembered).nn10,
        )

    @cached_property
    def _remembered(self) -> Remembered | None:
        return Remembered.of(self._observed, self._newest.device)

    def _reduced(self, snapshot: Snapshot) -> Tensor:
        """The remembered vectors as this version serves them, (vectors, n_components)."""
        assert self._remembered is not None, "whoever asks has looked"
        rows = self._remembered.vectors.to(snapshot.input_dtype)
        return snapshot.product(rows).to(torch.float32)


def examination(config: ModelConfig, newest: Snapshot, trainer: Trainer) -> Examination | None:
    """The examination of this moment; None where nothing is remembered, or no vector is made.

    Args:
        config: what the model is.
        newest: of the trainer's version.
        trainer: read now, in its own thread, and not afterwards.
    """
    observed = trainer.observed
    if observed is None or len(newest.output_shape) != 1:
        return None
    return Examination(config, newest, observed.state)


def _matrix(snapshot: Snapshot) -> Tensor | None:
    """The one matrix that a version is; None where it is more than that."""
    (first, *others) = snapshot.tensors.values()
    return first if snapshot.is_linear and not others else None
