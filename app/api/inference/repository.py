"""POST /v2/repository/…: which models are in memory, looked at and changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from app.access import Caller
from app.api.asgi import read_body
from app.api.bodies import refusal
from app.api.edge import Edge, is_long_to_decode
from app.api.errors import documented
from app.api.gate import caller_of
from app.api.inference.models import ROOT
from app.api.inference.schemas import (
    INDEX_EXAMPLES,
    LOAD_EXAMPLES,
    IndexEntry,
    IndexRequest,
    RepositoryRequest,
)
from app.api.negotiation import JSON
from app.api.schemas import ModelName
from app.codecs import CONFIG_DEPTH, parse_object
from app.codecs.inference_files import SentFiles, read_files
from app.config import parse_config
from app.errors import NotFound, Unavailable
from app.types import Json

_EMPTY: dict[int | str, dict[str, Any]] = {
    200: {"description": "It is done; there is nothing to say", "content": {}}
}


def repository_routes(edge: Edge) -> APIRouter:
    """The index of the repository; load and unload."""
    router = APIRouter(prefix=f"{ROOT}/repository", tags=["inference"])
    _add_index(router, edge)
    _add_changes(router, edge)
    return router


def _add_index(router: APIRouter, edge: Edge) -> None:
    @router.post(
        "/index",
        openapi_extra=_body(IndexRequest, INDEX_EXAMPLES),
        responses=documented(400, 413, 500, path=ROOT),
        response_model_exclude_none=True,
    )
    async def index(request: Request) -> list[IndexEntry]:
        """Every model of the repository that the caller may see, in memory or not."""
        limit = edge.settings.max_json_body_bytes
        body = await read_body(request.scope, request.receive, limit)
        try:
            asked = IndexRequest.model_validate(parse_object(body) if body else {}, strict=True)
        except ValidationError as error:
            raise refusal(error, IndexRequest) from None
        entries = _entries(edge, caller_of(request.scope))
        return [entry for entry in entries if entry.state == "READY" or not asked.ready]


def _add_changes(router: APIRouter, edge: Edge) -> None:
    residence = edge.service.residence
    extra = _body(RepositoryRequest, LOAD_EXAMPLES)
    refusals = documented(400, 404, 409, 413, 429, 500, 503, 507, path=ROOT)

    @router.post(
        "/models/{model}/load",
        response_class=Response,
        openapi_extra=extra,
        responses={**_EMPTY, **refusals},
    )
    async def load(model: ModelName, request: Request) -> Response:
        """Bring a model into memory, from disk or from the files that are sent.

        With `config`, a model is created (its `file:…`, if any, has the weights). Where the model
        is there already, its config has to be that one, and other weights than those that are
        served become its next version. Sent twice, it changes nothing more.
        """
        sent = await _read_sent(edge, request)
        if sent.config is None:
            await residence.load(model)
        else:
            config = parse_config(parse_object(sent.config, max_depth=CONFIG_DEPTH))
            await residence.install(model, config, sent.tensors)
        return Response()

    @router.post(
        "/models/{model}/unload",
        response_class=Response,
        openapi_extra=extra,
        responses={**_EMPTY, **refusals},
    )
    async def unload(model: ModelName, request: Request) -> Response:
        """Take a model out of memory after a last checkpoint; it stays on disk.

        Until it is loaded again, or the server starts anew, inferences of it are answered 503.
        """
        await _read_sent(edge, request)
        await residence.unload(model)
        return Response()


def _entries(edge: Edge, caller: Caller) -> Iterator[IndexEntry]:
    """Those in memory first, each by name."""
    absent = edge.service.models.absent
    for summary in edge.service.summaries():
        if caller.sees(summary.model) and summary.model not in absent:
            with suppress(NotFound, Unavailable):  # it went meanwhile
                version = str(edge.service.live(summary.model).served.stamp.version)
                yield IndexEntry(name=summary.model, version=version, state="READY", reason="")
    for name, reason in absent.items():
        if caller.sees(name):
            yield IndexEntry(name=name, state="UNAVAILABLE", reason=reason)


async def _read_sent(edge: Edge, request: Request) -> SentFiles:
    limit = edge.settings.max_binary_body_bytes
    body = await read_body(request.scope, request.receive, limit) or b"{}"
    read = partial(read_files, body)
    return await edge.service.aside(read) if is_long_to_decode(body, is_json=True) else read()


def _body(kind: type[BaseModel], examples: Json) -> Json:
    """What the document says of a body that is read raw, and may be missing."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    content = {JSON: {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": False, "content": content}}
