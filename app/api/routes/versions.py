"""Versions of a model: list, describe, write one now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.edge import Edge
from app.api.errors import documented
from app.api.schemas import CheckpointAnswer, ModelName
from app.errors import Unacceptable
from app.types import VersionDescription

VersionNumber = Annotated[str, Path(description="a version number", pattern="^[0-9]{1,18}$")]


def version_routes(edge: Edge) -> APIRouter:
    """The retained versions of each model."""
    service = edge.service
    refusals = documented(400, 404, 422, 500, 503, 507)
    router = APIRouter(prefix="/models/{model}/versions", tags=["models"], responses=refusals)

    @router.get("")
    async def list_versions(model: ModelName) -> list[VersionDescription]:
        """The retained versions, oldest first."""
        return await service.versions(model)

    @router.post("", status_code=201)
    async def checkpoint(model: ModelName) -> CheckpointAnswer:
        """Write the newest version to disk now."""
        return CheckpointAnswer(model=model, version=await service.checkpoint(model))

    @router.get("/{version}")
    async def describe_version(model: ModelName, version: VersionNumber) -> VersionDescription:
        """One retained version."""
        return await service.version(model, version_number(version))

    return router


def version_number(text: str) -> int:
    """The number in a path.

    Raises:
        Unacceptable: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Unacceptable("wrong_type", "expected a version number, like 41")
    return int(text)
