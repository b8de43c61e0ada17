"""The hot verbs as documented framework routes; `api/hot.py` is the short way to the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.edge import Edge, RawRoute
from app.api.errors import documented
from app.api.examples import EVALUATE_EXAMPLES, JVP_EXAMPLES, REDUCE_EXAMPLES, TRAIN_EXAMPLES
from app.api.negotiation import JSON
from app.api.routes import look, reduce, train
from app.api.schemas import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    OCTETS,
    DerivativeAnswer,
    DerivativeRequest,
    EvaluateRequest,
    ModelName,
    ReduceAnswer,
    ReduceRequest,
    TrainStepRequest,
    query_parameter,
    refer_to,
)
from app.types import EvaluationAnswer, Json, StepAnswer

_REFUSALS = (400, 404, 406, 412, 413, 415, 422, 429, 500, 503)
_STAMPS = ("Model-Name", "Model-Version", "Model-Digest")
_BRANCH = query_parameter(
    "branch", "which of the branches that the model's layers declare; the first if none"
)
_LOSS = query_parameter("loss", "binary bodies only: the name of a loss, instead of the config's")
_LOSSES = query_parameter(
    "loss",
    "binary bodies only: the names of losses, with commas between them, instead of the config's",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verb:
    """What the document says about a hot verb."""

    path: str
    route: RawRoute
    summary: str
    reads: frozenset[str]
    request: type[BaseModel]
    examples: Json
    writes: frozenset[str]
    answer: type
    parameters: list[Json]
    headers: tuple[str, ...]
    refusals: tuple[int, ...]


def hot_routes(edge: Edge) -> APIRouter:
    """`/reduce`, `/train-step`, `/evaluate` and `/jvp`, short and under each model."""
    router = APIRouter(tags=["vectors"])
    for verb in _verbs():
        _add(router, verb, verb.path, _short(edge, verb.route))
        _add(router, verb, f"/models/{{model}}{verb.path}", _long(edge, verb.route))
    return router


def _verbs() -> list[_Verb]:
    return [
        _Verb(
            path="/reduce",
            route=reduce.reduce,
            summary="Make vectors smaller with one version of the weights",
            reads=reduce.READS,
            request=ReduceRequest,
            examples=REDUCE_EXAMPLES,
            writes=reduce.READS,
            answer=ReduceAnswer,
            parameters=_query(reduce.ReduceParameters),
            headers=_STAMPS,
            refusals=_REFUSALS,
        ),
        _Verb(
            path="/train-step",
            route=train.train_step,
            summary="Update the weights once; answers the version that this made",
            reads=train.READS,
            request=TrainStepRequest,
            examples=TRAIN_EXAMPLES,
            writes=frozenset({JSON}),
            answer=StepAnswer,
            parameters=[IF_MATCH, IDEMPOTENCY_KEY, _LOSS, _BRANCH],
            headers=(*_STAMPS, "Idempotency-Replayed", "Idempotency-Window"),
            refusals=(*_REFUSALS, 409, 507),
        ),
        _Verb(
            path="/evaluate",
            route=look.evaluate,
            summary="Losses and quality of one version on a batch",
            reads=look.READS,
            request=EvaluateRequest,
            examples=EVALUATE_EXAMPLES,
            writes=frozenset({JSON}),
            answer=EvaluationAnswer,
            parameters=[*_query(look.LookParameters), _LOSSES],
            headers=_STAMPS,
            refusals=tuple(status for status in _REFUSALS if status not in (406, 412)),
        ),
        _Verb(
            path="/jvp",
            route=look.jvp,
            summary="Reduced vectors and their derivatives along tangents",
            reads=look.READS,
            request=DerivativeRequest,
            examples=JVP_EXAMPLES,
            writes=look.READS,
            answer=DerivativeAnswer,
            parameters=_query(look.LookParameters),
            headers=_STAMPS,
            refusals=tuple(status for status in _REFUSALS if status != 412),
        ),
    ]


def _add(router: APIRouter, verb: _Verb, path: str, endpoint: Callable[..., Any]) -> None:
    schema = {"$ref": f"#/components/schemas/{verb.request.__name__}"}
    body = {
        "required": True,
        # The page offers the first one.
        "content": {JSON: {"schema": schema, "examples": verb.examples}, **_binary(verb.reads)},
    }
    headers = refer_to(*verb.headers)
    well = {"model": verb.answer, "content": _binary(verb.writes), "headers": headers}
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        summary=verb.summary,
        description=getdoc(verb.route),
        response_model=None,
        responses={200: well, **documented(*verb.refusals)},
        openapi_extra={"requestBody": body, "parameters": verb.parameters},
    )


def _binary(media_types: frozenset[str]) -> Json:
    return dict.fromkeys(sorted(media_types - {JSON}), OCTETS)


def _query(model: type[BaseModel]) -> list[Json]:
    """The options of a binary body, as query parameters."""
    properties = model.model_json_schema()["properties"]
    return [
        query_parameter(name, f"binary bodies only: {field['description']}", _in_text(field))
        for name, field in properties.items()
    ]


def _in_text(field: Json) -> Json:
    """The schema of a field as a query parameter: there is no null, only leaving it out."""
    # Without its default, too: the page would send that with a JSON body, which has no query.
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        told = ("description", "title", "default")
        return {key: value for key, value in field.items() if key not in told}
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _short(edge: Edge, route: RawRoute) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return await _respond(edge, edge.settings.default_model, route, request)

    return endpoint


def _long(edge: Edge, route: RawRoute) -> Callable[..., Any]:
    async def endpoint(model: ModelName, request: Request) -> Response:
        return await _respond(edge, model, route, request)

    return endpoint


async def _respond(edge: Edge, model: str, route: RawRoute, request: Request) -> Response:
    answer = await route(edge, model, request.scope, request.receive)
    return Response(answer.body, answer.status, dict(answer.headers))
