"""Evaluations and derivatives of one version: its tensors as they are, in float32."""

from __future__ import annotations

import numpy as np

from app.config import ModelConfig
from app.engine.snapshot import Snapshot
from app.errors import Unacceptable
from app.layers import Context, declared_once, plain
from app.training.batch import to_tensors
from app.training.derivative import directional_derivative
from app.training.evaluation import evaluate
from app.types import Batch, Beside, Derivative, Evaluate, Evaluation, FloatArray


def evaluate_version(snapshot: Snapshot, config: ModelConfig, asked: Evaluate) -> Evaluation:
    """Losses and metrics of a version on a batch; see `app.training.evaluation.evaluate`."""
    return evaluate(config, snapshot.tensors, asked)


def differentiate(
    snapshot: Snapshot,
    config: ModelConfig,
    hidden_states: FloatArray,
    tangents: FloatArray,
    beside: Beside,
) -> Derivative:
    """Reduced vectors of a version, and their derivatives along tangents.

    Shape: hidden_states and tangents (…, *input_shape); returns (…, *output_shape).

    Raises:
        Unacceptable: `derivative_unsupported`.
    """
    if declared_once(config).takes_ids:
        raise Unacceptable(
            "derivative_unsupported",
            "the rows of this model are ids, which cannot move along a tangent",
            pointer="/tangents",
        )
    batch = Batch(hidden_states=hidden_states, mask=beside.mask)
    rows = to_tensors(batch, snapshot.device, config, branch=beside.branch)
    moved_by = to_tensors(Batch(hidden_states=tangents), snapshot.device, config).hidden_states
    context = Context(mask=rows.mask, branch=beside.branch)
    layer = plain(config, snapshot.tensors)
    pair = directional_derivative(layer, rows.hidden_states, moved_by, context)
    leading = hidden_states.shape[: hidden_states.ndim - len(snapshot.input_shape)]
    reduced, derivative = (
        np.ascontiguousarray(tensor.cpu().numpy()).reshape(*leading, *tensor.shape[1:])
        for tensor in pair
    )
    return Derivative(reduced, derivative, snapshot.stamp)
