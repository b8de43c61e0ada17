"""Descriptions: what readers are told about a live model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from app.engine import ChosenDevice, LiveModel, Snapshot
from app.types import ModelDescription, ModelSummary


def summarise(live: LiveModel) -> ModelSummary:
    """One line about a live model."""
    return _summary(live.name, live.snapshot)


def describe(
    live: LiveModel, retained: Sequence[int], device: ChosenDevice, dtype: str
) -> ModelDescription:
    """Everything about a live model.

    Args:
        live: at this moment.
        retained: its versions on disk.
        device: where it lives.
        dtype: of its products.
    """
    snapshot = live.snapshot  # read once: a step may publish another at any time
    return ModelDescription(
        **asdict(_summary(live.name, snapshot)),
        config=live.config,
        input_shape=snapshot.input_shape,
        output_shape=snapshot.output_shape,
        warnings=(*snapshot.warnings, *live.config.unused),
        step=snapshot.step,
        serving=live.serving,
        retained=tuple(retained),
        device=device.name,
        device_reason=device.reason,
        dtype=dtype,
        counters=dict(live.counters),
        gate=live.gate,
        quality=live.quality,
        drift=live.drift,
    )


def _summary(name: str, snapshot: Snapshot) -> ModelSummary:
    return ModelSummary(
        model=name,
        version=snapshot.stamp.version,
        digest=snapshot.stamp.digest,
        input_size=snapshot.input_size,
        n_components=snapshot.n_components,
    )
