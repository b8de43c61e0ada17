"""OpenAI's protocol as documented framework routes; `api/hot.py` is the short way to the verb."""

from __future__ import annotations

from inspect import getdoc

from fastapi import APIRouter, Request, Response

from app.api.edge import Edge
from app.api.errors import documented
from app.api.negotiation import JSON
from app.api.openai.embeddings import Embeddings
from app.api.openai.models import describe_name, list_names
from app.api.openai.schemas import (
    EmbeddingsAnswer,
    EmbeddingsRequest,
    OpenAIModel,
    OpenAIModelList,
)
from app.api.schemas import refer_to

PATHS = ("/v1/embeddings", "/embeddings")
_REFUSALS = (400, 404, 408, 409, 413, 415, 429, 500, 501, 502, 503, 507)


def openai_routes(edge: Edge) -> APIRouter:
    """Embeddings and the names of models, for the clients of OpenAI's API."""
    router = APIRouter(tags=["openai"])
    _add_embeddings(router, edge)

    @router.get("/v1/models", responses=documented(500, 503, path="/v1/models"))
    async def list_openai_models(request: Request) -> OpenAIModelList:
        """The names that may be asked for: models, and their retained versions."""
        return await list_names(edge, request.scope)

    @router.get("/v1/models/{id:path}", responses=documented(404, 500, 503, path="/v1/models"))
    async def describe_openai_model(id: str, request: Request) -> OpenAIModel:
        """One of these names, in any of its forms."""
        return await describe_name(edge, request.scope, id)

    return router


def _add_embeddings(router: APIRouter, edge: Edge) -> None:
    embeddings = Embeddings(edge.settings)

    async def endpoint(request: Request) -> Response:
        answer = await embeddings.answer(edge, "", request.scope, request.receive)
        return Response(answer.body, answer.status, dict(answer.headers))

    schema = {"$ref": f"#/components/schemas/{EmbeddingsRequest.__name__}"}
    headers = refer_to("Model-Name", "Model-Version", "Model-Digest")
    for path in PATHS:
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary="Small vectors of vectors or texts, in OpenAI's form",
            description=getdoc(Embeddings.answer),
            response_model=None,
            responses={
                200: {"model": EmbeddingsAnswer, "headers": headers},
                **documented(*_REFUSALS, path=path),
            },
            openapi_extra={
                "requestBody": {"required": True, "content": {JSON: {"schema": schema}}}
            },
        )
