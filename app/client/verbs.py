"""Every verb as a flow: which request asks for it, and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar
from uuid import uuid4

import orjson
from numpy.typing import ArrayLike
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.client.actions import Answer, Flow, Request, Upload
from app.client.arrays import SAFETENSORS, Fields, pack_fields, read_derivative, read_reduced
from app.client.refusals import accepted, not_understood
from app.client.retries import Retries, send
from app.client.stream import Stream, Window
from app.config import ModelConfig
from app.names import check_model_name
from app.types import (
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
OnError: TypeAlias = Literal["stop", "skip"]
Method: TypeAlias = str | Mapping[str, Any]

_JSON = "application/json"
_FRAMES = "application/x-slimvec-frames"


class _ModelList(BaseModel):
    default: str
    models: tuple[ModelSummary, ...]


class _Checkpointed(BaseModel):
    version: int


class Verbs:
    """The verbs for one model.

    Args:
        model: its name; without one, the server's default model.
        retries: how long to insist.

    Raises:
        Unacceptable: the name is none.
    """

    def __init__(self, model: str | None, retries: Retries) -> None:
        self._model = model if model is None else check_model_name(model)
        self._retries = retries

    def reduce(
        self,
        hidden_states: ArrayLike,
        *,
        version: Serving | None,
        require_version: int | None,
        normalize: bool,
        dimensions: int | None,
        mask: ArrayLike | None,
        branch: str | None,
    ) -> Flow[Reduced]:
        """Make vectors smaller."""
        query = _query(
            version=version,
            require_version=require_version,
            normalize="true" if normalize else None,
            dimensions=dimensions,
            branch=branch,
        )
        request = Request(
            "POST",
            self._hot("/reduce"),
            query=query,
            headers={"content-type": SAFETENSORS, "accept": SAFETENSORS},
            body=(pack_fields({"hidden_states": hidden_states, "mask": mask}),),
            is_repeatable=True,
        )
        return read_reduced((yield from send(request, self._retries)))

    def train_step(
        self,
        batch: Fields,
        *,
        loss: str | None,
        branch: str | None,
        if_version: int | None,
        key: str | None,
    ) -> Flow[StepAnswer]:
        """Update the weights once, under one key for all tries."""
        request = Request(
            "POST",
            self._hot("/train-step"),
            query=_query(loss=loss, branch=branch),
            headers={
                "content-type": SAFETENSORS,
                "idempotency-key": key or str(uuid4()),
                **_condition(if_version),
            },
            body=(pack_fields(batch),),
            is_repeatable=True,
        )
        return (yield from self._ask(request, StepAnswer))

    def evaluate(
        self,
        batch: Fields,
        *,
        loss: str | Sequence[str] | None,
        branch: str | None,
        version: Serving | None,
    ) -> Flow[EvaluationAnswer]:
        """Losses and quality of a version."""
        names = loss if loss is None or isinstance(loss, str) else ",".join(loss)
        request = Request(
            "POST",
            self._hot("/evaluate"),
            query=_query(loss=names, branch=branch, version=version),
            headers={"content-type": SAFETENSORS},
            body=(pack_fields(batch),),
            is_repeatable=True,
        )
        return (yield from self._ask(request, EvaluationAnswer))

    def jvp(
        self, fields: Fields, *, branch: str | None, version: Serving | None
    ) -> Flow[Derivative]:
        """Reduced vectors and their derivatives."""
        request = Request(
            "POST",
            self._hot("/jvp"),
            query=_query(branch=branch, version=version),
            headers={"content-type": SAFETENSORS, "accept": SAFETENSORS},
            body=(pack_fields(fields),),
            is_repeatable=True,
        )
        return read_derivative((yield from send(request, self._retries)))

    def train_stream(
        self, *, loss: str | None, on_error: OnError, key: str | None, window: Window
    ) -> Flow[None]:
        """Train on the batches that the driver hands in."""
        request = Request(
            "POST",
            self._hot("/train-stream"),
            query=_query(loss=loss, on_error=on_error),
            headers={"content-type": _FRAMES},
            is_repeatable=True,
        )
        stream = Stream(
            lambda body: replace(request, body=body),
            key=key or str(uuid4()),
            skips=on_error == "skip",
            window=window,
            retries=self._retries,
        )
        yield from stream.run()

    def fit(self, *, method: Method, if_version: int | None) -> Flow[FitAnswer]:
        """Make the weights from the batches that the driver hands in; sent once."""
        name = method if isinstance(method, str) else orjson.dumps(dict(method)).decode()
        request = Request(
            "POST",
            self._hot("/fit"),
            query=_query(method=name),
            headers={"content-type": _FRAMES, **_condition(if_version)},
        )
        answer: Answer = yield Upload(request)
        return _read(accepted(answer), FitAnswer)

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
        request = replace(request, headers={**request.headers, **_condition(if_version)})
        return (yield from self._ask(request, ControlAnswer))

    def create(self, config: ModelConfig | Mapping[str, Any]) -> Flow[ModelSummary]:
        """Create the model."""
        document = config.model_dump(mode="json") if isinstance(config, ModelConfig) else config
        request = _with_json("PUT", (yield from self._path("")), document)
        return (yield from self._ask(request, ModelSummary))

    def delete(self) -> Flow[None]:
        """Delete the model."""
        yield from send(Request("DELETE", (yield from self._path(""))), self._retries)

    def _hot(self, verb: str) -> str:
        return verb if self._model is None else f"/models/{self._model}{verb}"

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
        return _read((yield from send(request, self._retries)), kind)


def _read(answer: Answer, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(answer.body)
    except ValidationError:
        raise not_understood("a document of another form") from None


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


def _condition(if_version: int | None) -> dict[str, str]:
    return {} if if_version is None else {"if-match": f'"{if_version}"'}


def _query(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
