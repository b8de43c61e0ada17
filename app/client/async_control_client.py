"""`AsyncControlClient`: what an operator asks of a model, in an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.client.actions import Done, Emit, Flow, advance
from app.client.retries import Retries
from app.client.trouble import check_url
from app.client.verbs import Verbs
from app.client.wire import AnyBatches, AsyncWire, headers_with
from app.config import ModelConfig
from app.types import (
    Alignment,
    ControlAnswer,
    ModelDescription,
    ModelSummary,
    Serving,
    StateDescription,
    VersionDescription,
)

T = TypeVar("T")

_RETRIES = Retries()


class AsyncControlClient:
    """The verbs of an operator; an async context manager. Arguments as of `ControlClient`."""

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

    async def alignment(self, version: int, to: Serving = "live") -> Alignment:
        """What turns the reduced vectors of one version into the space of another.

        `aligned = reduced @ alignment.rotation`, and what that is worth, measured on the vectors
        that the model remembers.

        Args:
            version: a retained version, whose vectors are to be turned.
            to: a retained version, or "live" for the newest one: into whose space.
        """
        return await self._run(self._verbs.alignment(version, to))

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

    async def configure(
        self, *, lr: float | Sequence[float], if_version: int | None = None
    ) -> ControlAnswer:
        """Set the learning rate from the next step on.

        Args:
            lr: of all parameter groups, or one for each.
            if_version: `PreconditionFailed` unless the model is at this version.
        """
        return await self._run(self._verbs.configure(lr=lr, if_version=if_version))

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
