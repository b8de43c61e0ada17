"""The verbs of an operator as flows: models, their versions, and changes that are no steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.client.actions import Answer, Flow, Request
from app.client.arrays import SAFETENSORS, read_alignment
from app.client.refusals import not_understood
from app.client.retries import Retries, send
from app.config import ModelConfig
from app.names import check_model_name
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

_JSON = "application/json"


class _ModelList(BaseModel):
    default: str
    models: tuple[ModelSummary, ...]


class _Checkpointed(BaseModel):
    version: int


class ControlVerbs:
    """The verbs of an operator, for one model.

    Args:
        model: its name; without one, the server's default model.
        retries: how long to insist.

    Raises:
        Unacceptable: the name is none.
    """

    def __init__(self, model: str | None, retries: Retries) -> None:
        self._model = model if model is None else check_model_name(model)
        self._retries = retries

    def models(self) -> Flow[tuple[ModelSummary, ...]]:
        """Every model of the server."""
        return (yield from self._list()).models

    def describe(self) -> Flow[ModelDescription]:
        """Config, versions, device."""
        return (yield from self._get("", ModelDescription))

    def state(self) -> Flow[StateDescription]:
        """Where the trainer stands."""
        return (yield from self._get("/state", StateDescription))

    def versions(self) -> Flow[tuple[VersionDescription, ...]]:
        """The retained versions."""
        return (yield from self._get("/versions", tuple[VersionDescription, ...]))

    def version(self, number: int) -> Flow[VersionDescription]:
        """One retained version."""
        return (yield from self._get(f"/versions/{number:d}", VersionDescription))

    def alignment(self, version: int, to: Serving) -> Flow[Alignment]:
        """What turns the vectors of one version into the space of another."""
        request = Request(
            "GET",
            (yield from self._path(f"/versions/{version:d}/alignment")),
            query=query_of(to=to),
            headers={"accept": SAFETENSORS},
            is_repeatable=True,
        )
        return read_alignment((yield from send(request, self._retries)))

    def checkpoint(self) -> Flow[int]:
        """Write the newest version to disk; done twice, it is as good as once."""
        request = Request("POST", (yield from self._path("/versions")), is_repeatable=True)
        return (yield from self._ask(request, _Checkpointed)).version

    def promote(self, version: Serving) -> Flow[ControlAnswer]:
        """Let unpinned requests have this version."""
        path = yield from self._path("/serving")
        request = _with_json("PUT", path, {"version": version}, is_repeatable=True)
        return (yield from self._ask(request, ControlAnswer))

    def rollback(self, version: int, *, if_version: int | None) -> Flow[ControlAnswer]:
        """Return to the state of a version; each time makes a new version."""
        request = _with_json("POST", (yield from self._path("/rollback")), {"version": version})
        request = replace(request, headers={**request.headers, **condition(if_version)})
        return (yield from self._ask(request, ControlAnswer))

    def configure(
        self, *, lr: float | Sequence[float], if_version: int | None
    ) -> Flow[ControlAnswer]:
        """Set the learning rate; done twice, it is as good as once."""
        rates = list(lr) if isinstance(lr, Sequence) else lr
        path = yield from self._path("")
        request = _with_json("PATCH", path, {"lr": rates}, is_repeatable=True)
        request = replace(request, headers={**request.headers, **condition(if_version)})
        return (yield from self._ask(request, ControlAnswer))

    def create(self, config: ModelConfig | Mapping[str, Any]) -> Flow[ModelSummary]:
        """Create the model."""
        document = config.model_dump(mode="json") if isinstance(config, ModelConfig) else config
        request = _with_json("PUT", (yield from self._path("")), document)
        return (yield from self._ask(request, ModelSummary))

    def delete(self) -> Flow[None]:
        """Delete the model."""
        yield from send(Request("DELETE", (yield from self._path(""))), self._retries)

    def _path(self, rest: str) -> Flow[str]:
        """A path under the model, whose name is asked for where none was given."""
        if self._model is None:
            self._model = check_model_name((yield from self._list()).default)
        return f"/models/{self._model}{rest}"

    def _list(self) -> Flow[_ModelList]:
        return (yield from self._ask(Request("GET", "/models", is_repeatable=True), _ModelList))

    def _get(self, rest: str, kind: type[T]) -> Flow[T]:
        request = Request("GET", (yield from self._path(rest)), is_repeatable=True)
        return (yield from self._ask(request, kind))

    def _ask(self, request: Request, kind: type[T]) -> Flow[T]:
        """Send a request until it is accepted; its JSON answer as the type that it has."""
        return read((yield from send(request, self._retries)), kind)


def read(answer: Answer, kind: type[T]) -> T:
    """The JSON document of an answer.

    Raises:
        NotUnderstood: it is another one.
    """
    try:
        return TypeAdapter(kind).validate_json(answer.body)
    except ValidationError:
        raise not_understood("a document of another form") from None


def condition(if_version: int | None) -> dict[str, str]:
    """The header that asks for a version."""
    return {} if if_version is None else {"if-match": f'"{if_version}"'}


def query_of(**values: str | int | None) -> dict[str, str]:
    """The query parameters that are given."""
    return {name: str(value) for name, value in values.items() if value is not None}


def _with_json(
    method: str, path: str, document: Mapping[str, Any], *, is_repeatable: bool = False
) -> Request:
    return Request(
        method,
        path,
        headers={"content-type": _JSON},
        body=(orjson.dumps(document),),
        is_repeatable=is_repeatable,
    )
