"""Versions in paths: decimal numbers of published versions, and nothing else."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from app.api.edge import Edge
from app.errors import NotFound
from app.types import ModelDescription

VersionText = Annotated[str, Path(description="a retained version, or the newest one")]


def parse_version(text: str) -> int:
    """The number.

    Raises:
        NotFound: `version_not_found`: it is none, so there is no such version.
    """
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19):
        raise NotFound(
            "version_not_found",
            "expected a version number in the path; live stands in the parameter version",
        )
    return int(text)


async def describe(edge: Edge, model: str, version: str | None) -> ModelDescription:
    """The model; with a version, only if there is that one.

    Raises:
        NotFound: no such model or version.
        Unavailable: the model is not in memory.
    """
    described = await edge.service.describe(model)
    if version is not None and parse_version(version) != described.version:
        await edge.service.version(model, int(version))
    return described
