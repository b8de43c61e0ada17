"""POST /fit: weights in closed form from a batch of data, or from a stream of any length."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from inspect import getdoc
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.asgi import Receive, Scope, read_body, refuse_encoding
from app.api.edge import Edge, decode, hidden_states_of, query_options
from app.api.errors import documented
from app.api.examples import FIT_EXAMPLES, FIT_STREAM_EXAMPLES
from app.api.negotiation import JSON, SAFETENSORS, choose_media_type
from app.api.routes.controls import condition, documented_body
from app.api.schemas import OCTETS, Absent, Array, ModelName, query_parameter, without_default
from app.api.streams.reading import FRAMES, NDJSON, framing_of, read_records
from app.codecs import CODECS, Body, BodySchema, parse_object
from app.config import Component, parse_method
from app.errors import Malformed, SlimvecError, TooLarge, Unacceptable
from app.types import Batch, FitAnswer, Json

_READS = frozenset({JSON, SAFETENSORS, NDJSON, FRAMES})
_ARRAYS = frozenset({"hidden_states", "positives"})
_METHOD = frozenset({"method"})
_NO_OPTIONS: frozenset[str] = frozenset()
_DEFAULT_METHOD = "pca"


class FitRecord(BaseModel):
    """One line of a stream of `POST /fit`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    hidden_states: Array = Field(description="shape (…, input_size)")
    positives: Array | Absent = Field(
        None,
        description="the other side of each pair, of the same shape; `pair_lda` needs them",
        json_schema_extra=without_default,
    )


class FitRequest(FitRecord):
    """The JSON body of `POST /fit`."""

    method: str | Component = Field(
        _DEFAULT_METHOD, description="a fit method, by name or with its arguments"
    )


_METHOD_PARAMETER = query_parameter(
    "method",
    "of every body but a single JSON object: the name of a fit method, or a JSON object with its "
    "arguments",
)


def fit_routes(edge: Edge) -> APIRouter:
    """`/fit`, short and under each model."""
    refusals = documented(400, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503, 507)
    router = APIRouter(tags=["models"], responses=refusals)
    extra = documented_body(FitRequest, FIT_EXAMPLES)
    extra["requestBody"]["content"] |= {
        SAFETENSORS: OCTETS,
        NDJSON: {
            "schema": {"$ref": f"#/components/schemas/{FitRecord.__name__}"},
            "examples": FIT_STREAM_EXAMPLES,
        },
        FRAMES: OCTETS,
    }
    extra["parameters"].append(_METHOD_PARAMETER)
    for path, endpoint in (("/fit", _short(edge)), ("/models/{model}/fit", _long(edge))):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary="Start anew from data",
            description=getdoc(_fit),
            openapi_extra=extra,
        )
    return router


def _short(edge: Edge) -> Callable[..., Any]:
    async def endpoint(request: Request) -> FitAnswer:
        return await _fit(edge, edge.settings.default_model, request.scope, request.receive)

    return endpoint


def _long(edge: Edge) -> Callable[..., Any]:
    async def endpoint(model: ModelName, request: Request) -> FitAnswer:
        return await _fit(edge, model, request.scope, request.receive)

    return endpoint


async def _fit(edge: Edge, model: str, scope: Scope, receive: Receive) -> FitAnswer:
    """Makes the weights from hidden_states, as a new version at step 0.

    The data is one batch, or a stream of records as `/train-stream` takes them (without options),
    read once at bounded memory: only its moments are kept, in the journal too. Nothing is changed
    before the last record; a refused one refuses the whole. The optimizer begins anew; the learning
    rates stay. The answer says how many vectors were seen, how many are advised, and which share
    of their spread the weights capture.
    """
    media_type = choose_media_type(scope, _READS)
    if_version = condition(scope)
    query = query_options(scope, _NO_OPTIONS if media_type == JSON else _METHOD)
    if media_type in (NDJSON, FRAMES):
        records = _Records(edge, scope, receive, media_type)
        try:
            return await edge.service.controls.fit(
                model, records.batches(), _method_of(query), if_version
            )
        except (Malformed, Unacceptable, TooLarge) as error:
            raise records.placed(error) from error
    is_json = media_type == JSON
    limits = edge.settings
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    octets = await read_body(scope, receive, limit)
    schema = _schema(edge, _METHOD if is_json else _NO_OPTIONS)
    body = await decode(edge, CODECS[media_type], octets, schema)
    batch, method = _batch_of(body), _method_of({**body.options, **query})
    return await edge.service.controls.fit(model, batch, method, if_version)


class _Records:
    """The batches of a stream, and which record is the newest one.

    Args:
        edge: settings, and the thread beside the event loop.
        scope: of the request.
        receive: gives its body.
        media_type: of the stream.
    """

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, media_type: str) -> None:
        refuse_encoding(scope)
        self._edge = edge
        self._scope = scope
        self._receive = receive
        self._framing = framing_of(media_type, edge.settings)
        self._codec = CODECS[JSON if media_type == NDJSON else SAFETENSORS]
        self._number = 0

    async def batches(self) -> AsyncIterator[Batch]:
        """Each record, decoded; the next one is read when this one was counted in."""
        schema = _schema(self._edge, _NO_OPTIONS)
        self._scope["ticket"].hold(0)  # whatever the whole body is declared to have
        self._number = 1  # of the record that is being read, or counted in
        async with self._edge.streams.reading():
            async for octets in read_records(self._scope, self._receive, self._framing, self._hold):
                await self._hold(len(octets))
                yield _batch_of(await decode(self._edge, self._codec, octets, schema))
                self._number += 1
        self._number = 0

    def placed(self, error: SlimvecError) -> SlimvecError:
        """The refusal, with the number of the record that it is about."""
        if not self._number:
            return error
        told = error.anew()
        told.detail = f"record {self._number}: {error.detail}; nothing was changed"
        told.args = (told.detail,)
        return told

    async def _hold(self, num_bytes: int) -> None:
        self._scope["ticket"].hold(self._framing.num_bytes + num_bytes)


def _schema(edge: Edge, options: frozenset[str]) -> BodySchema:
    return BodySchema(arrays=_ARRAYS, options=options, max_rows=edge.settings.max_rows)


def _batch_of(body: Body) -> Batch:
    hidden_states_of(body)
    return Batch(**body.arrays)


def _method_of(options: Json) -> Component:
    """The method that a body or a query names.

    Raises:
        ConfigInvalid, Malformed: it names none.
    """
    method = options.get("method", _DEFAULT_METHOD)
    if isinstance(method, str) and method.startswith("{"):
        method = parse_object(method.encode())
    return parse_method(method)
