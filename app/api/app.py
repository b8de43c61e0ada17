"""The HTTP application: context → hot paths → FastAPI."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from app import __version__
from app.api.asgi import App
from app.api.authorization import document_scopes
from app.api.context import RequestContext, refuse
from app.api.edge import Edge
from app.api.errors import TRY_AGAIN, MethodNotAllowed
from app.api.hot import HotPaths
from app.api.inference.routes import inference_routes
from app.api.inference.schemas import READ_RAW as INFERENCE_READ_RAW
from app.api.openai.routes import openai_routes
from app.api.openai.schemas import READ_RAW as OPENAI_READ_RAW
from app.api.routes.alignment import alignment_routes
from app.api.routes.controls import READ_RAW, control_routes
from app.api.routes.docs import docs_routes
from app.api.routes.fit import FitRecord, FitRequest, fit_routes
from app.api.routes.health import health_routes
from app.api.routes.hot import hot_routes
from app.api.routes.models import model_routes
from app.api.routes.stream import stream_routes
from app.api.routes.upstream import READ_RAW as UPSTREAM_READ_RAW
from app.api.routes.upstream import upstream_routes
from app.api.routes.versions import version_routes
from app.api.schemas import (
    HEADERS,
    Acknowledgement,
    DerivativeRequest,
    EvaluateRequest,
    Problem,
    RecordRefusal,
    ReduceRequest,
    StreamRecord,
    TrainStepRequest,
    refer_to,
)
from app.api.streams.open import OpenStreams
from app.config import ModelConfig
from app.errors import NotFound, SlimvecError, Unacceptable

log = logging.getLogger("slimvec.api")

_DESCRIPTION = (
    "Makes embeddings smaller with a trained layer, and keeps training that layer while it serves. "
    "Every vector says which version of the weights made it."
)

_READ_RAW = (
    ReduceRequest,
    TrainStepRequest,
    EvaluateRequest,
    DerivativeRequest,
    StreamRecord,
    Acknowledgement,
    RecordRefusal,
    *READ_RAW,
    FitRequest,
    FitRecord,
    *INFERENCE_READ_RAW,
    *OPENAI_READ_RAW,
    *UPSTREAM_READ_RAW,
    ModelConfig,
    Problem,
)


def create_app(edge: Edge) -> App:
    """The whole edge as one ASGI app; its lifespan starts and closes the service."""
    paths = HotPaths(create_framework(edge), edge)
    return RequestContext(paths, edge, paths.find)


def create_framework(edge: Edge) -> FastAPI:
    """FastAPI with every documented route and one form for every refusal."""
    app = FastAPI(
        title="Slimvec",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        lifespan=_lifespan(edge),
    )
    routers = (
        hot_routes(edge),
        stream_routes(edge),
        model_routes(edge),
        version_routes(edge),
        alignment_routes(edge),
        control_routes(edge),
        fit_routes(edge),
        upstream_routes(edge),
        openai_routes(edge),
        *inference_routes(edge),
        health_routes(edge),
        docs_routes(),
    )
    for router in routers:
        app.include_router(router)
    _handle_errors(app, edge, routers)
    _complete_schema(app)
    return app


def _operation_id(route: APIRoute) -> str:
    """What a generated client calls the operation: `post_models_model_reduce`."""
    words = re.findall(r"[a-z0-9]+", route.path.lower())
    return "_".join([*sorted(method.lower() for method in route.methods or ()), *words])


def _lifespan(edge: Edge) -> Any:  # FastAPI's own type for this is a private union
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, OpenStreams]]:
        # In the background, so that probes are answered while models load.
        starting = asyncio.create_task(edge.service.start())
        starting.add_done_callback(_log_failure)
        yield {"streams": edge.streams}  # for the server, which knows first when it is to end
        starting.cancel()
        await edge.service.close()

    return lifespan


def _log_failure(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()):
        log.critical("start-up failed; the server stays not ready", exc_info=error)


def _handle_errors(app: FastAPI, edge: Edge, routers: Iterable[APIRouter]) -> None:
    def respond(request: Request, error: Exception) -> Response:
        answer = refuse(error, request.scope, edge.metrics)
        return Response(answer.body, answer.status, dict(answer.headers))

    def respond_to_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return respond(request, NotFound("route_not_found", "there is no such path; see /docs"))
        response = respond(
            request,
            MethodNotAllowed("method_not_allowed", "this path has other methods; see Allow"),
        )
        response.headers["allow"] = _methods(routers, request.scope["path"])
        return response

    def respond_to_validation(request: Request, _: Exception) -> Response:
        fault = Unacceptable(
            "wrong_type", "a path or query parameter is not of its type; see /docs"
        )
        return respond(request, fault)

    app.add_exception_handler(SlimvecError, respond)
    app.add_exception_handler(HTTPException, respond_to_framework)
    app.add_exception_handler(RequestValidationError, respond_to_validation)
    app.add_exception_handler(Exception, respond)


def _methods(routers: Iterable[APIRouter], path: str) -> str:
    """Every method of a path; the framework itself tells only those of the route it tried first."""
    # The routers' own routes: those of the app stand behind a private type.
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    there = [route for route in routes if route.path_regex.match(path)]
    return ", ".join(sorted({method for route in there for method in route.methods or ()}))


def _complete_schema(app: FastAPI) -> None:
    """Add what FastAPI cannot see: the bodies that are read raw, and the headers."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _, schemas = models_json_schema(
                [(model, "validation") for model in _READ_RAW],
                ref_template="#/components/schemas/{model}",
            )
            components = document.setdefault("components", {})
            components["schemas"] = schemas["$defs"] | components.get("schemas", {})
            components["headers"] = HEADERS
            _drop_framework_refusals(document)
            document_scopes(document)
            _add_headers(document["paths"])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it


def _drop_framework_refusals(document: dict[str, Any]) -> None:
    """Drop the 422 that the framework documents where a route names none: nobody answers so."""
    schemas = document["components"]["schemas"]
    if schemas.pop("HTTPValidationError", None) is None:
        return
    del schemas["ValidationError"]
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]


def _add_headers(paths: dict[str, Any]) -> None:
    for operations in paths.values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                retry = ("Retry-After",) if int(status) in TRY_AGAIN else ()
                headers = refer_to("Request-Id", "Server-Timing", *retry)
                response["headers"] = response.get("headers", {}) | headers
