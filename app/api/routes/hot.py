"""The hot verbs as documented framework routes; `api/hot.py` is the short way to the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.edge import Edge, RawRoute
from app.api.errors import documented
from app.api.routes import reduce, train
from app.api.schemas import ReduceAnswer, ReduceRequest, TrainStepRequest
from app.codecs import CODECS
from app.types import StepAnswer

_REFUSALS = documented(400, 404, 406, 412, 413, 415, 422, 429, 500, 503)
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def hot_routes(edge: Edge) -> APIRouter:
    """`/reduce` and `/train-step`, short and under each model."""
    router = APIRouter(tags=["vectors"])
    for path, route, answer, extra in _documented():
        _add(router, path, _short(edge, route), route, answer, extra)
        _add(router, f"/models/{{model}}{path}", _long(edge, route), route, answer, extra)
    return router


def _documented() -> list[tuple[str, RawRoute, type, dict[str, Any]]]:
    return [
        ("/reduce", reduce.reduce, ReduceAnswer, _body(ReduceRequest, reduce.READS)),
        ("/train-step", train.train_step, StepAnswer, _body(TrainStepRequest, train.READS)),
    ]


def _add(
    router: APIRouter,
    path: str,
    endpoint: Callable[..., Any],
    route: RawRoute,
    answer: type,
    extra: dict[str, Any],
) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        summary=path.strip("/").capitalize(),
        description=route.__doc__,
        response_model=None,
        responses={200: {"model": answer}, **_REFUSALS},
        openapi_extra=extra,
    )


def _short(edge: Edge, route: RawRoute) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return await _respond(edge, edge.settings.default_model, route, request)

    return endpoint


def _long(edge: Edge, route: RawRoute) -> Callable[..., Any]:
    async def endpoint(model: str, request: Request) -> Response:
        return await _respond(edge, model, route, request)

    return endpoint


async def _respond(edge: Edge, model: str, route: RawRoute, request: Request) -> Response:
    answer = await route(edge, model, request.scope, request.receive)
    return Response(answer.body, answer.status, dict(answer.headers))


def _body(schema: type[BaseModel], media_types: frozenset[str]) -> dict[str, Any]:
    content: dict[str, Any] = {name: _BINARY for name in CODECS if name in media_types}
    content["application/json"] = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
    return {"requestBody": {"required": True, "content": content}}
