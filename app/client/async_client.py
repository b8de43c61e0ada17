"""`AsyncClient`: performs the flows of `Verbs` in an event loop; otherwise it is `Client`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import ArrayLike

from app.client.acknowledgements import Item
from app.client.actions import Done, Emit, Flow, advance
from app.client.arrays import Single
from app.client.retries import Retries
from app.client.stream import Window
from app.client.trouble import check_url
from app.client.verbs import Method, OnError, Verbs
from app.client.wire import AnyBatches, AsyncWire, headers_with
from app.config import ModelConfig
from app.types import (
    Batch,
    ControlAnswer,
    Derivative,
    EvaluationAnswer,
    FitAnswer,
    ModelDescription,
    ModelSummary,
    Reduced,
    Serving,
    StateDescription,
    StepAnswer,
    VersionDescription,
)

T = TypeVar("T")

_WINDOW = Window()
_RETRIES = Retries()


class AsyncClient:
    """One model of a Slimvec server; an async context manager. Arguments as of `Client`."""

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        retries: Retries = _RETRIES,
        timeout_s: float = 30.0,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._verbs = Verbs(model, retries)
        self._http = httpx.AsyncClient(
            base_url=check_url(url),
            timeout=timeout_s,
            headers=headers_with(headers, api_key),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

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

    async def models(self) -> tuple[ModelSummary, ...]:
        """Every model of the server, with its newest version."""
        return await self._run(self._verbs.models())

    async def describe(self) -> ModelDescription:
        """Config, versions, device."""
        return await self._run(self._verbs.describe())

    async def state(self) -> StateDescription:
        """Where the trainer stands, with the digest of everything that learning needs."""
        return await self._run(self._verbs.state())

    async def versions(self) -> tuple[VersionDescription, ...]:
        """The retained versions, oldest first."""
        return await self._run(self._verbs.versions())

    async def version(self, number: int) -> VersionDescription:
        """One retained version."""
        return await self._run(self._verbs.version(number))

    async def checkpoint(self) -> int:
        """Write the newest version to disk now; its number."""
        return await self._run(self._verbs.checkpoint())

    async def promote(self, version: Serving) -> ControlAnswer:
        """Let unpinned requests have this version; "live" for always the newest."""
        return await self._run(self._verbs.promote(version))

    async def rollback(self, version: int, *, if_version: int | None = None) -> ControlAnswer:
        """Return the trainer to the state of a retained version, as a new version.

        Not sent again when its outcome is unknown (`Interrupted`); with `if_version`, the version
        that the model is at, you can do that yourself: it is carried out once.
        """
        return await self._run(self._verbs.rollback(version, if_version=if_version))

    async def create(self, config: ModelConfig | Mapping[str, Any]) -> ModelSummary:
        """Create the model from its config."""
        return await self._run(self._verbs.create(config))

    async def delete(self) -> None:
        """Delete the model and everything it learned."""
        await self._run(self._verbs.delete())

    async def _run(self, flow: Flow[T], batches: AnyBatches = ()) -> T:
        with closing(flow):
            async with AsyncWire(self._http, batches) as wire:
                step = advance(flow)
                while not isinstance(step, Done):
                    assert not isinstance(step, Emit), "only streams emit"
                    step = advance(flow, await wire.perform(step))
        return step.value
