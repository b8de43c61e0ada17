"""`AsyncClient`: performs the flows of `Verbs` in an event loop; otherwise it is `Client`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from app.client.acknowledgements import Item
from app.client.actions import Done, Emit, advance
from app.client.arrays import Single
from app.client.async_control_client import AsyncControlClient
from app.client.stream import Window
from app.client.verbs import Method, OnError
from app.client.wire import AnyBatches, AsyncWire
from app.types import (
    Batch,
    Derivative,
    EvaluationAnswer,
    FitAnswer,
    Reduced,
    Serving,
    StepAnswer,
)

T = TypeVar("T")

_WINDOW = Window()


class AsyncClient(AsyncControlClient):
    """One model of a Slimvec server; an async context manager. Arguments as of `ControlClient`."""

    async def reduce(
        self,
        hidden_states: ArrayLike,
        *,
        version: Serving | None = None,
        require_version: int | None = None,
        normalize: bool = False,
        dimensions: int | None = None,
        mask: ArrayLike | None = None,
        branch: str | None = None,
    ) -> Reduced:
        """Make vectors smaller; the answer is stamped with the weights that did it."""
        return await self._run(
            self._verbs.reduce(
                hidden_states,
                version=version,
                require_version=require_version,
                normalize=normalize,
                dimensions=dimensions,
                mask=mask,
                branch=branch,
            )
        )

    async def train_step(
        self,
        hidden_states: ArrayLike,
        *,
        targets: ArrayLike | None = None,
        positives: ArrayLike | None = None,
        negatives: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        sample_weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        loss: str | None = None,
        branch: str | None = None,
        if_version: int | None = None,
        key: str | None = None,
    ) -> StepAnswer:
        """Update the weights once; applied exactly once, however often it has to be sent."""
        fields = {
            "hidden_states": hidden_states,
            "targets": targets,
            "positives": positives,
            "negatives": negatives,
            "labels": labels,
            "sample_weights": sample_weights,
            "mask": mask,
        }
        return await self._run(
            self._verbs.train_step(fields, loss=loss, branch=branch, if_version=if_version, key=key)
        )

    async def evaluate(
        self,
        hidden_states: ArrayLike,
        *,
        targets: ArrayLike | None = None,
        positives: ArrayLike | None = None,
        negatives: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        sample_weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        tangents: ArrayLike | None = None,
        loss: str | Sequence[str] | None = None,
        branch: str | None = None,
        version: Serving | None = None,
    ) -> EvaluationAnswer:
        """Losses and quality metrics of a version; see `Client.evaluate`."""
        fields = {
            "hidden_states": hidden_states,
            "targets": targets,
            "positives": positives,
            "negatives": negatives,
            "labels": labels,
            "sample_weights": sample_weights,
            "mask": mask,
            "tangents": tangents,
        }
        return await self._run(
            self._verbs.evaluate(fields, loss=loss, branch=branch, version=version)
        )

    async def jvp(
        self,
        hidden_states: ArrayLike,
        tangents: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        branch: str | None = None,
        version: Serving | None = None,
    ) -> Derivative:
        """Reduced vectors and their derivatives; see `Client.jvp`."""
        fields = {"hidden_states": hidden_states, "tangents": tangents, "mask": mask}
        return await self._run(self._verbs.jvp(fields, branch=branch, version=version))

    async def train_stream(
        self,
        batches: AnyBatches,
        *,
        loss: str | None = None,
        on_error: OnError = "stop",
        key: str | None = None,
        window: Window = _WINDOW,
    ) -> AsyncGenerator[Item, None]:
        """Train on one batch after another; each is applied exactly once.

        Leave it early only inside `contextlib.aclosing`, so that the connection is freed at once.
        """
        flow = self._verbs.train_stream(loss=loss, on_error=on_error, key=key, window=window)
        with closing(flow):
            async with AsyncWire(self._http, batches) as wire:
                step = advance(flow)
                while not isinstance(step, Done):
                    if isinstance(step, Emit):
                        yield step.item
                        step = advance(flow)
                    else:
                        step = advance(flow, await wire.perform(step))

    async def fit(
        self,
        batches: Single | AnyBatches,
        *,
        method: Method = "pca",
        if_version: int | None = None,
    ) -> FitAnswer:
        """Start anew from data, read once at bounded memory; the weights come in closed form.

        Sent once: a broken connection is told (`Interrupted`), and nothing was changed unless the
        answer came; with `if_version` you can send it again yourself.

        Args:
            batches: one batch, or one after another (an asynchronous iterator may give them):
                arrays of hidden_states, or `Batch`es with positives.
            method: the name of a fit method, or `{"type": …}` with its arguments.
            if_version: `PreconditionFailed` unless the model is at this version.
        """
        given = (batches,) if isinstance(batches, Batch | np.ndarray) else batches
        return await self._run(self._verbs.fit(method=method, if_version=if_version), given)
