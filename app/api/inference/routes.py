"""Every route of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.edge import Edge, RawRoute
from app.api.errors import documented
from app.api.inference.counters import statistics_routes
from app.api.inference.infer import OCTETS as OCTET_STREAM
from app.api.inference.infer import infer
from app.api.inference.models import MODEL, ROOT, metadata_routes
from app.api.inference.repository import repository_routes
from app.api.inference.schemas import INFER_EXAMPLES, InferenceAnswer
from app.api.inference.unoffered import unoffered_routes
from app.api.inference.versions import VersionText
from app.api.negotiation import JSON
from app.api.schemas import OCTETS, ModelName, refer_to
from app.types import Json

_REFUSALS = (400, 404, 412, 413, 415, 429, 500, 501, 503)
_STAMPS = ("Model-Name", "Model-Version", "Model-Digest")
_PARAMETERS: list[Json] = [
    {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "bytes of the JSON part, if a binary tensor follows it; 0: no JSON at all",
        "schema": {"type": "integer", "minimum": 0},
    },
]


def inference_routes(edge: Edge) -> tuple[APIRouter, ...]:
    """The protocol; statistics first: `/v2/models/stats` is no model's metadata.

    Not one router with the others in it: their routes would stand behind a private type, and a
    refused method could not name those of its path.
    """
    return (
        statistics_routes(edge),
        metadata_routes(edge),
        repository_routes(edge),
        unoffered_routes(),
        _infer_routes(edge),
    )


def find_infer(path: str) -> tuple[RawRoute, str] | None:
    """The route and model of a path of infer, in front of the framework."""
    parts = path.split("/")
    is_pinned = len(parts) == 7 and parts[4] == "versions"
    if (
        parts[:3] != ["", "v2", "models"]
        or parts[-1] != "infer"
        or not (len(parts) == 5 or is_pinned)
    ):
        return None
    return infer, parts[3]


def _infer_routes(edge: Edge) -> APIRouter:
    router = APIRouter()

    async def newest(model: ModelName, request: Request) -> Response:
        return await _respond(edge, model, request)

    async def pinned(
        model: ModelName,
        version: VersionText,  # noqa: ARG001 - `infer` reads it in the path, which both ways have
        request: Request,
    ) -> Response:
        return await _respond(edge, model, request)

    schema = {"$ref": "#/components/schemas/InferenceRequest"}
    content = {JSON: {"schema": schema, "examples": INFER_EXAMPLES}, OCTET_STREAM: OCTETS}
    well = {
        "model": InferenceAnswer,
        "content": {OCTET_STREAM: OCTETS},
        "headers": refer_to(*_STAMPS),
    }
    endpoints: dict[str, Callable[..., Any]] = {"": newest, "/versions/{version}": pinned}
    for which, endpoint in endpoints.items():
        router.add_api_route(
            f"{MODEL}{which}/infer",
            endpoint,
            methods=["POST"],
            tags=["inference"],
            summary="Reduce hidden_states, with the clients of the Open Inference Protocol",
            description=getdoc(infer),
            response_model=None,
            responses={200: well, **documented(*_REFUSALS, path=ROOT)},
            openapi_extra={
                "requestBody": {"required": True, "content": content},
                "parameters": _PARAMETERS,
            },
        )
    return router


async def _respond(edge: Edge, model: str, request: Request) -> Response:
    answer = await infer(edge, model, request.scope, request.receive)
    return Response(answer.body, answer.status, dict(answer.headers))
