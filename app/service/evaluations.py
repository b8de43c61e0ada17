"""Evaluations and derivatives: verbs that look at a version and change nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from app.engine import Engine, LiveModel, Snapshot
from app.engine.evaluation import differentiate, evaluate_version
from app.errors import Unacceptable
from app.service.masks import check_mask
from app.service.reduce_options import ReduceOptions
from app.service.validation import check_batch, check_branch, check_finite
from app.types import Batch, Beside, Derivative, Evaluate, EvaluationAnswer, FloatArray, Serving

if TYPE_CHECKING:
    from app.service.service import Service


class Evaluations:
    """The verbs of looking.

    Args:
        service: finds models and versions.
        engine: computes, beside the event loop and away from every trainer.
    """

    def __init__(self, service: Service, engine: Engine) -> None:
        self._service = service
        self._engine = engine

    async def evaluate(
        self, model: str, asked: Evaluate, version: Serving | None
    ) -> EvaluationAnswer:
        """Losses and quality metrics of one version on a batch.

        Raises:
            NotFound: unknown model or version.
            ConfigInvalid: a loss that does not exist.
            Unacceptable, TooLarge: the batch does not fit.
            Unavailable: `out_of_memory`.
        """
        live, snapshot = await self._chosen(model, version)
        look = partial(_check, asked.batch, asked.tangents, asked.branch, snapshot, model)
        await self._engine.aside(look)
        found = await self._engine.look(partial(evaluate_version, snapshot, live.config, asked))
        stamp = snapshot.stamp
        return EvaluationAnswer(
            model=stamp.model,
            version=stamp.version,
            digest=stamp.digest,
            rows=found.rows,
            losses=found.losses,
            metrics=found.metrics,
        )

    async def differentiate(
        self,
        model: str,
        hidden_states: FloatArray,
        tangents: FloatArray,
        beside: Beside,
        version: Serving | None,
    ) -> Derivative:
        """Reduced vectors of one version, and their derivatives along tangents.

        Shape: hidden_states and tangents (…, *input_shape); returns (…, *output_shape).

        Raises:
            NotFound: unknown model or version.
            Unacceptable: shapes or values that cannot be used, or `derivative_unsupported`.
            Unavailable: `out_of_memory`.
        """
        live, snapshot = await self._chosen(model, version)
        batch = Batch(hidden_states=hidden_states, mask=beside.mask)
        await self._engine.aside(partial(_check, batch, tangents, beside.branch, snapshot, model))
        work = partial(differentiate, snapshot, live.config, hidden_states, tangents, beside)
        found = await self._engine.look(work)
        if not (np.isfinite(found.reduced).all() and np.isfinite(found.derivative).all()):
            raise Unacceptable(
                "non_finite_output",
                "the values are finite, but what the layers make of them overflows; scale them "
                "down",
                pointer="/hidden_states",
            )
        return found

    async def _chosen(self, model: str, version: Serving | None) -> tuple[LiveModel, Snapshot]:
        live = self._service.live(model)
        return live, await self._service.reductions.choose(live, ReduceOptions(version=version))


def _check(
    batch: Batch,
    tangents: FloatArray | None,
    branch: str | None,
    snapshot: Snapshot,
    model: str,
) -> None:
    """Refuse what the layers cannot take; what the losses cannot, is found where they are."""
    check_batch(batch, snapshot.input_shape, model)
    check_branch(branch, snapshot.branches, model)
    check_mask(batch.mask, batch.hidden_states, snapshot, model)
    if tangents is None:
        return
    if tangents.shape != batch.hidden_states.shape:
        wanted, found = list(batch.hidden_states.shape), list(tangents.shape)
        raise Unacceptable(
            "shape_mismatch",
            f"expected tangents of the shape of hidden_states, {wanted}, got {found}; send one for "
            "each row",
            pointer="/tangents",
        )
    check_finite("tangents", tangents)
