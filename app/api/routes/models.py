"""Models and versions: list, describe, create, delete, checkpoint."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app.api.asgi import read_body
from app.api.edge import Edge
from app.api.errors import documented
from app.api.negotiation import JSON, choose_reader
from app.api.schemas import CONFIG_EXAMPLES, CheckpointAnswer, ModelList
from app.codecs import parse_object, unpack
from app.config import parse_config
from app.errors import Unacceptable
from app.types import ModelDescription, ModelSummary, StateDescription, VersionDescription

SAFETENSORS = "application/x-safetensors"

Name = Annotated[str, Path(description="the model's name")]
VersionNumber = Annotated[str, Path(description="a version number", pattern="^[0-9]{1,18}$")]

_CREATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a config, or trained weights under a known key",
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/ModelConfig"},
                "examples": CONFIG_EXAMPLES,
            },
            SAFETENSORS: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def model_routes(edge: Edge) -> APIRouter:
    """The control routes of models."""
    refusals = documented(400, 404, 409, 413, 415, 422, 500, 503, 507)
    router = APIRouter(prefix="/models", tags=["models"], responses=refusals)
    _add_reads(router, edge)
    _add_changes(router, edge)
    _add_versions(router, edge)
    return router


def _add_reads(router: APIRouter, edge: Edge) -> None:
    service = edge.service

    @router.get("")
    async def list_models() -> ModelList:
        """Every model, with its newest version."""
        return ModelList(default=edge.settings.default_model, models=service.summaries())

    @router.get("/{model}")
    async def describe_model(model: Name) -> ModelDescription:
        """Config, versions, device."""
        return await service.describe(model)

    @router.get("/{model}/state")
    async def describe_state(model: Name) -> StateDescription:
        """Where the trainer stands, with the digest of everything that learning needs."""
        return await service.state(model)


def _add_changes(router: APIRouter, edge: Edge) -> None:
    service = edge.service

    @router.put("/{model}", status_code=201, openapi_extra=_CREATE_BODY)
    async def create_model(model: Name, request: Request) -> ModelSummary:
        """Create a model from a config (JSON), or from trained weights (safetensors)."""
        reader = choose_reader(request.scope, frozenset({JSON, SAFETENSORS}))
        limit = edge.settings.max_binary_body_bytes
        body = await read_body(request.scope, request.receive, limit)
        if reader.media_type == JSON:
            return await service.create(model, parse_config(parse_object(body)))
        return await service.upload(model, unpack(body)[0])

    @router.delete("/{model}", status_code=204)
    async def delete_model(model: Name) -> Response:
        """Delete a model and everything it learned."""
        await service.delete(model)
        return Response(status_code=204)


def _add_versions(router: APIRouter, edge: Edge) -> None:
    service = edge.service

    @router.get("/{model}/versions")
    async def list_versions(model: Name) -> list[VersionDescription]:
        """The retained versions, oldest first."""
        return await service.versions(model)

    @router.post("/{model}/versions", status_code=201)
    async def checkpoint(model: Name) -> CheckpointAnswer:
        """Write the newest version to disk now."""
        return CheckpointAnswer(model=model, version=await service.checkpoint(model))

    @router.get("/{model}/versions/{version}")
    async def describe_version(model: Name, version: VersionNumber) -> VersionDescription:
        """One retained version."""
        if not (version.isascii() and version.isdigit() and len(version) < 19):
            raise Unacceptable("wrong_type", "expected a version number, like 41")
        return await service.version(model, int(version))
