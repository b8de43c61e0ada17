"""Changes of a model that are not train steps: what is served, rollback, learning rates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.asgi import Scope, header, single_header
from app.api.bodies import read_document
from app.api.edge import Edge
from app.api.errors import documented
from app.api.examples import (
    CONFIGURE_EXAMPLES,
    ROLLBACK_EXAMPLES,
    SERVING_EXAMPLES,
)
from app.api.negotiation import JSON
from app.api.routes.reduce import Version, VersionOrLive
from app.api.routes.train import parse_if_match
from app.api.schemas import (
    IF_MATCH,
    ModelName,
)
from app.config import MAX_LEARNING_RATE
from app.errors import Unacceptable
from app.faults import OURS
from app.types import ControlAnswer, Json


def _rates(value: object) -> float | tuple[float, ...]:
    """One message for both forms; whether a number is a learning rate, the trainer says."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(type(number) not in (int, float) for number in numbers):
        raise PydanticCustomError(
            f"{OURS}wrong_type", "expected a number, or an array with one for each parameter group"
        )
    first, *others = map(float, numbers)
    return (first, *others) if isinstance(value, list) else first


_LEARNING_RATE = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_LEARNING_RATE}
LearningRates = Annotated[
    float | tuple[float, ...],
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

    version: VersionOrLive = Field(
        description='a retained version, or "live": the newest that passes the gate'
    )


class RollbackRequest(_Asked):
    """The JSON body of `POST /models/{model}/rollback`."""

    version: Version = Field(description="a retained version")


class ConfigureRequest(_Asked):
    """The JSON body of `PATCH /models/{model}`."""

    lr: LearningRates = Field(
        description="the learning rate of all parameter groups, or one for each"
    )


READ_RAW = (ServingRequest, RollbackRequest, ConfigureRequest)


def control_routes(edge: Edge) -> APIRouter:
    """The operator's verbs; each is durable before it is answered."""
    refusals = documented(400, 404, 409, 412, 413, 415, 422, 429, 500, 503, 507)
    router = APIRouter(tags=["models"], responses=refusals)
    _add_documents(router, edge)
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
        "/models/{model}/serving", openapi_extra=documented_body(ServingRequest, SERVING_EXAMPLES)
    )
    async def serve(model: ModelName, request: Request) -> ControlAnswer:
        """Promote a retained version: unpinned requests get it from now on.

        `live` lets them have the newest version again, whatever the gate found of it. Makes no
        version.
        """
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, ServingRequest, limits)
        return await controls.promote(model, asked.version, if_version)

    @router.post(
        "/models/{model}/rollback",
        openapi_extra=documented_body(RollbackRequest, ROLLBACK_EXAMPLES),
    )
    async def roll_back(model: ModelName, request: Request) -> ControlAnswer:
        """Return the trainer to the state of a retained version, as a new version.

        Weights, moments, guards and the step go back; the version number never does.
        """
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, RollbackRequest, limits)
        return await controls.rollback(model, asked.version, if_version)

    @router.patch(
        "/models/{model}", openapi_extra=documented_body(ConfigureRequest, CONFIGURE_EXAMPLES)
    )
    async def configure(model: ModelName, request: Request) -> ControlAnswer:
        """Set the learning rate, from the next step on. Makes no version."""
        if_version = condition(request.scope)
        asked = await read_document(request.scope, request.receive, ConfigureRequest, limits)
        return await controls.configure(model, asked.lr, if_version)


def documented_body(kind: type[BaseModel], examples: Json) -> Json:
    """What the document says of a body that is read raw."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    content = {JSON: {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [IF_MATCH]}
