"""`ControlClient`: what an operator asks of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.client.actions import Done, Emit, Flow, advance
from app.client.arrays import BatchLike
from app.client.retries import Retries
from app.client.trouble import check_url
from app.client.verbs import Verbs
from app.client.wire import Wire, headers_with
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


class ControlClient:
    """The verbs of an operator: models, their versions, changes that are no steps.

    Args:
        url: where the server listens, like `http://127.0.0.1:8000`.
        model: the model's name; without one, the server's default model.
        retries: how long to insist.
        timeout_s: of each connect, read and write.
        api_key: where the server wants one; the scope `read` is enough to reduce.
        headers: sent with every request.
        transport: in the place of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        retries: Retries = _RETRIES,
        timeout_s: float = 30.0,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._verbs = Verbs(model, retries)
        self._http = httpx.Client(
            base_url=check_url(url),
            timeout=timeout_s,
            headers=headers_with(headers, api_key),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def models(self) -> tuple[ModelSummary, ...]:
        """Every model of the server, with its newest version."""
        return self._run(self._verbs.models())

    def describe(self) -> ModelDescription:
        """Config, versions, device."""
        return self._run(self._verbs.describe())

    def state(self) -> StateDescription:
        """Where the trainer stands, with the digest of everything that learning needs."""
        return self._run(self._verbs.state())

    def versions(self) -> tuple[VersionDescription, ...]:
        """The retained versions, oldest first."""
        return self._run(self._verbs.versions())

    def version(self, number: int) -> VersionDescription:
        """One retained version."""
        return self._run(self._verbs.version(number))

    def alignment(self, version: int, to: Serving = "live") -> Alignment:
        """What turns the reduced vectors of one version into the space of another.

        `aligned = reduced @ alignment.rotation`, and what that is worth, measured on the vectors
        that the model remembers.

        Args:
            version: a retained version, whose vectors are to be turned.
            to: a retained version, or "live" for the newest one: into whose space.
        """
        return self._run(self._verbs.alignment(version, to))

    def checkpoint(self) -> int:
        """Write the newest version to disk now; its number."""
        return self._run(self._verbs.checkpoint())

    def promote(self, version: Serving) -> ControlAnswer:
        """Let unpinned requests have this version; "live" for always the newest."""
        return self._run(self._verbs.promote(version))

    def rollback(self, version: int, *, if_version: int | None = None) -> ControlAnswer:
        """Return the trainer to the state of a retained version, as a new version.

        Not sent again when its outcome is unknown (`Interrupted`); with `if_version`, the version
        that the model is at, you can do that yourself: it is carried out once.
        """
        return self._run(self._verbs.rollback(version, if_version=if_version))

    def configure(
        self, *, lr: float | Sequence[float], if_version: int | None = None
    ) -> ControlAnswer:
        """Set the learning rate from the next step on.

        Args:
            lr: of all parameter groups, or one for each.
            if_version: `PreconditionFailed` unless the model is at this version.
        """
        return self._run(self._verbs.configure(lr=lr, if_version=if_version))

    def create(self, config: ModelConfig | Mapping[str, Any]) -> ModelSummary:
        """Create the model from its config."""
        return self._run(self._verbs.create(config))

    def delete(self) -> None:
        """Delete the model and everything it learned."""
        self._run(self._verbs.delete())

    def _run(self, flow: Flow[T], batches: Iterable[BatchLike] = ()) -> T:
        with closing(flow), Wire(self._http, batches) as wire:
            step = advance(flow)
            while not isinstance(step, Done):
                assert not isinstance(step, Emit), "only streams emit"
                step = advance(flow, wire.perform(step))
        return step.value
