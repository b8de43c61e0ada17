"""Whose embeddings of text a model reduces: look, and acknowledge a change."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.bodies import read_document
from app.api.edge import Edge
from app.api.errors import documented
from app.api.negotiation import JSON
from app.api.schemas import ModelName
from app.types import UpstreamDescription


class UpstreamRequest(BaseModel):
    """The JSON body of `PUT /models/{model}/upstream`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(
        min_length=1,
        max_length=256,
        pattern="^[ -~]+$",
        description="what the upstream calls the model whose embeddings are reduced from now on",
    )


READ_RAW = (UpstreamRequest,)

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": f"#/components/schemas/{UpstreamRequest.__name__}"},
                "examples": {"upstream": {"value": {"model": "all-MiniLM-L6-v2"}}},
            }
        },
    }
}


def upstream_routes(edge: Edge) -> APIRouter:
    """The upstream of each model."""
    texts, limits = edge.service.texts, edge.settings
    router = APIRouter(prefix="/models/{model}/upstream", tags=["models"])

    @router.get("", responses=documented(404, 409, 422, 500, 503))
    async def describe_upstream(model: ModelName) -> UpstreamDescription:
        """What the upstream called its model when this one first reduced its embeddings of text."""
        return await texts.describe(model)

    @router.put(
        "", responses=documented(400, 404, 413, 415, 422, 500, 503, 507), openapi_extra=_BODY
    )
    async def acknowledge_upstream(model: ModelName, request: Request) -> UpstreamDescription:
        """Acknowledge another model of the upstream: its embeddings are reduced from now on.

        Vectors made from the embeddings of two models are not comparable, so an answer of the
        upstream under another name than before is refused until this is said.
        """
        asked = await read_document(request.scope, request.receive, UpstreamRequest, limits)
        return await texts.acknowledge(model, asked.model)

    return router
