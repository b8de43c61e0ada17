"""Changes of a model that are not train steps: what is served, rollback, learning rates, fit."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.asgi import Receive, Scope, header, read_body, single_header
from app.api.bodies import read_document
from app.api.edge import Edge, hidden_states_of, query_options
from app.api.errors import documented
from app.api.examples import (
    CONFIGURE_EXAMPLES,
    FIT_EXAMPLES,
    ROLLBACK_EXAMPLES,
    SERVING_EXAMPLES,
)
from app.api.negotiation import JSON, SAFETENSORS, choose_reader
from app.api.routes.reduce import Version, VersionOrLive
from app.api.routes.train import READS, parse_if_match
from app.api.schemas import (
    IF_MATCH,
    OCTETS,
    Array,
    ModelName,
)
from app.codecs import BodySchema
from app.config import MAX_LEARNING_RATE
from app.errors import Unacceptable
from app.faults import OURS
from app.types import ControlAnswer, Json

_METHOD = frozenset({"method"})
_NO_QUERY: frozenset[str] = frozenset()
_DEFAULT_METHOD = "pca"


def _rates(value: object) -> tuple[float, ...]:
    """One message for both forms; whether a number is a learning rate, the trainer says."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(type(number) not in (int, float) for number in numbers):
        raise PydanticCustomError(
            f"{OURS}wrong_type", "expected a number, or one for each parameter group"
        )
    return tuple(map(float, numbers))


_LEARNING_RATE = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_LEARNING_RATE}
LearningRates = Annotated[
    tuple[float, ...],
    PlainValidator(_rates),
    WithJsonSchema(
        {
            "anyOf": [
                _LEARNING_RATE,
                {"type": "array", "items": _LEARNING_RATE, "minItems": 1},
            ]
        }
    ),
]


class _Asked(BaseModel):
    """The JSON body of a control route."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ServingRequest(_Asked):
    """The JSON body of `PUT /models/{model}/serving`."""

    version: VersionOrLive = Field(description='a retained version, or "live": always the newest')


class RollbackRequest(_Asked):
    """The JSON body of `POST /models/{model}/rollback`."""

    version: Version = Field(description="a retained version")


class ConfigureRequest(_Asked):
    """The JSON body of `PATCH /models/{model}`."""

    lr: LearningRates = Field(
        description="the learning rate of all parameter groups, or one for each"
    )


class FitRequest(_Asked):
    """The JSON body of `POST /fit`."""

    hidden_states: Array = Field(description="shape (…, input_size)")
    method: str = Field(_DEFAULT_METHOD, description="an initialiser that starts from data")


READ_RAW = (ServingRequest, RollbackRequest, ConfigureRequest, FitRequest)

_FIT_METHOD: Json = {
    "name": "method",
    "in": "query",
    "required": False,
    "description": "binary bodies only: an initialiser that starts from data",
    "schema": {"type": "string"},
}


def control_routes(edge: Edge) -> APIRouter:
    """The operator's verbs; each is durable before it is answered."""
    refusals = documented(400, 404, 409, 412, 413, 415, 422, 429, 500, 503, 507)
    router = APIRouter(tags=["models"], responses=refusals)
    _add_documents(router, edge)
    _add_fit(router, edge)
    return router


def condition(scope: Scope) -> int | None:
    """The version of `If-Match`, at which alone the change is wanted.

    Raises:
        Malformed: `bad_if_match`.
        Unacceptable: `idempotency_unsupported`: a key that is not kept must not look kept.
    """
    if header(scope, b"idempotency-key") is not None:
        raise Unacceptable(
            "idempotency_unsupported",
            "only train steps take an Idempotency-Key; send If-Match with the version instead, "
            "under which this change is made once",
        )
    return parse_if_match(single_header(scope, b"if-match"))


def _add_documents(router: APIRouter, edge: Edge) -> None:
    controls, limits = edge.service.controls, edge.settings

    @router.put(
        "/models/{model}/serving", openapi_extra=_documented(ServingRequest, SERVING_EXAMPLES)
    )
    async def serve(model: ModelName, request: Request) -> ControlAnswer:
        """Promote a retained version: unpinned requests get it from now on.

        `live` lets them have the newest version again, whatever it is. Makes no version.
        """
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, ServingRequest, limits)
        return await controls.promote(model, asked.version, if_version)

    @router.post(
        "/models/{model}/rollback", openapi_extra=_documented(RollbackRequest, ROLLBACK_EXAMPLES)
    )
    async def roll_back(model: ModelName, request: Request) -> ControlAnswer:
        """Return the trainer to the state of a retained version, as a new version.

        Weights, moments, guards and the step go back; the version number never does.
        """
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, RollbackRequest, limits)
        return await controls.rollback(model, asked.version, if_version)

    @router.patch(
        "/models/{model}", openapi_extra=_documented(ConfigureRequest, CONFIGURE_EXAMPLES)
    )
    async def configure(model: ModelName, request: Request) -> ControlAnswer:
        """Set the learning rate, from the next step on. Makes no version."""
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, ConfigureRequest, limits)
        return await controls.configure(model, asked.lr, if_version)


def _add_fit(router: APIRouter, edge: Edge) -> None:
    extra = _documented(FitRequest, FIT_EXAMPLES)
    extra["requestBody"]["content"][SAFETENSORS] = OCTETS
    extra["parameters"].append(_FIT_METHOD)
    for path, endpoint in (("/fit", _short(edge)), ("/models/{model}/fit", _long(edge))):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary="Start anew from a batch of data",
            description=getdoc(_fit),
            openapi_extra=extra,
        )


def _short(edge: Edge) -> Callable[..., Any]:
    async def endpoint(request: Request) -> ControlAnswer:
        return await _fit(edge, edge.settings.default_model, request.scope, request.receive)

    return endpoint


def _long(edge: Edge) -> Callable[..., Any]:
    async def endpoint(model: ModelName, request: Request) -> ControlAnswer:
        return await _fit(edge, model, request.scope, request.receive)

    return endpoint


async def _fit(edge: Edge, model: str, scope: Scope, receive: Receive) -> ControlAnswer:
    """Makes the weights from a batch of hidden_states, as a new version at step 0.

    The optimizer begins anew and a bias becomes zero; the learning rates stay.
    """
    limits, reader = edge.settings, choose_reader(scope, READS)
    is_json = reader.media_type == JSON
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    if_version = condition(scope)
    schema = BodySchema(
        arrays=frozenset({"hidden_states"}), options=_METHOD, max_rows=limits.max_rows
    )
    body = reader.decode(await read_body(scope, receive, limit), schema)
    options = {**body.options, **query_options(scope, _NO_QUERY if is_json else _METHOD)}
    method = options.get("method", _DEFAULT_METHOD)
    if not isinstance(method, str):
        raise Unacceptable("wrong_type", "expected the name of an initialiser", pointer="/method")
    return await edge.service.controls.fit(model, hidden_states_of(body), method, if_version)


def _documented(kind: type[BaseModel], examples: Json) -> Json:
    """What the document says of a body that is read raw."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    content = {JSON: {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [IF_MATCH]}
