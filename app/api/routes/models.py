"""Models: list, describe, create, replace the weights of, delete."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from app.api.asgi import header, read_body
from app.api.edge import Edge
from app.api.errors import documented
from app.api.examples import CONFIG_EXAMPLES
from app.api.gate import caller_of
from app.api.negotiation import JSON, SAFETENSORS, choose_media_type
from app.api.routes.controls import condition
from app.api.schemas import (
    IF_MATCH,
    OCTETS,
    ModelList,
    ModelName,
)
from app.codecs import CONFIG_DEPTH, FILE_LIMITS, REQUEST_LIMITS, parse_object, unpack
from app.config import parse_config
from app.types import ControlAnswer, ModelDescription, ModelSummary, StateDescription

_PUT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a config, or trained weights under a known key",
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/ModelConfig"},
                "examples": CONFIG_EXAMPLES,
            },
            SAFETENSORS: OCTETS,
        },
    },
    "parameters": [IF_MATCH],
}
_REPLACED: dict[int | str, dict[str, Any]] = {
    200: {"model": ControlAnswer, "description": "The weights were replaced, by a new version"}
}


def model_routes(edge: Edge) -> APIRouter:
    """The control routes of models."""
    refusals = documented(400, 404, 409, 412, 413, 415, 422, 429, 500, 503, 507)
    router = APIRouter(prefix="/models", tags=["models"], responses=refusals)
    _add_reads(router, edge)
    _add_changes(router, edge)
    return router


def _add_reads(router: APIRouter, edge: Edge) -> None:
    service = edge.service

    @router.get("")
    async def list_models(request: Request) -> ModelList:
        """Every model, with its newest version; and those that could not be loaded.

        For a caller whose API key is for some models, there are no others.
        """
        caller, default = caller_of(request.scope), edge.settings.default_model
        lost = service.models.absent.items()
        return ModelList(
            default=default if caller.sees(default) else "",
            models=[summary for summary in service.summaries() if caller.sees(summary.model)],
            not_loaded={model: why for model, why in lost if caller.sees(model)},
        )

    @router.get("/{model}")
    async def describe_model(model: ModelName) -> ModelDescription:
        """Config, versions, device."""
        return await service.describe(model)

    @router.get("/{model}/state")
    async def describe_state(model: ModelName) -> StateDescription:
        """Where the trainer stands, with the digest of everything that learning needs."""
        return await service.state(model)


def _add_changes(router: APIRouter, edge: Edge) -> None:
    service = edge.service

    @router.put(
        "/{model}",
        status_code=201,
        response_model=ModelSummary,
        responses=_REPLACED,
        openapi_extra=_PUT,
    )
    async def put_model(model: ModelName, request: Request) -> ModelSummary | Response:
        """Create a model from a config (JSON), or from trained weights (safetensors).

        With `If-Match: "<version>"` (or `*`) the model must be there, and its weights are replaced
        by those of a safetensors body, as a new version with a fresh optimizer: 200.
        """
        if header(request.scope, b"if-match") is not None:
            answer = await _replace(edge, model, request)
            return Response(orjson.dumps(answer), media_type=JSON)
        media_type = choose_media_type(request.scope, frozenset({JSON, SAFETENSORS}))
        body = await _read(edge, request)
        if media_type == JSON:
            config = parse_config(parse_object(body, max_depth=CONFIG_DEPTH))
            return await service.create(model, config)
        return await service.upload(model, unpack(body, limits=REQUEST_LIMITS)[0])

    @router.delete("/{model}", status_code=204)
    async def delete_model(model: ModelName) -> Response:
        """Delete a model and everything it learned."""
        await service.delete(model)
        return Response(status_code=204)


async def _replace(edge: Edge, model: str, request: Request) -> ControlAnswer:
    if_version = condition(request.scope)
    choose_media_type(request.scope, frozenset({SAFETENSORS}))  # a config is never replaced
    tensors, _ = unpack(await _read(edge, request), limits=FILE_LIMITS)  # a stack has many
    return await edge.service.controls.replace(model, tensors, if_version)


async def _read(edge: Edge, request: Request) -> bytes | bytearray | memoryview:
    limit = edge.settings.max_binary_body_bytes
    return await read_body(request.scope, request.receive, limit)
