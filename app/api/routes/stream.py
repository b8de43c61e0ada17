"""The training stream as a documented route; `api/hot.py` is the way that requests take."""

from __future__ import annotations

from inspect import getdoc

from fastapi import APIRouter, Response

from app.api.asgi import Receive, Scope, Send
from app.api.edge import Edge
from app.api.errors import documented
from app.api.examples import STREAM_EXAMPLES
from app.api.schemas import (
    Acknowledgement,
    ModelName,
    RecordRefusal,
    StreamRecord,
    query_parameter,
)
from app.api.streams.http import train_stream
from app.api.streams.reading import FRAMES, NDJSON
from app.types import Json

_ON_ERROR = query_parameter(
    "on_error",
    "what a refused record does: stop the stream before it, or be skipped",
    {"type": "string", "enum": ["stop", "skip"]},
)
_LOSS = query_parameter(
    "loss", "frames only: the name of a loss, instead of the config's, for every record"
)
_BRANCH = query_parameter(
    "branch", "frames only: which of the branches of the model's layers, for every record"
)
_BODY = {
    "required": True,
    "description": "records, one after another: a JSON object a line, or frames of a length "
    "(u32, little-endian) and as many bytes of safetensors, whose metadata may hold `key`",
    "content": {
        NDJSON: {
            "schema": {"$ref": f"#/components/schemas/{StreamRecord.__name__}"},
            "examples": STREAM_EXAMPLES,
        },
        FRAMES: {"schema": {"type": "string", "format": "binary"}},
    },
}
_WEBSOCKET = (
    "A WebSocket to the same path takes a record a message, text for JSON and binary for "
    "safetensors, and answers with one acknowledgement each."
)
_LINES: Json = {
    "description": "one JSON object a line, as records are settled",
    "content": {
        NDJSON: {
            "schema": {
                "anyOf": [
                    {"$ref": f"#/components/schemas/{kind.__name__}"}
                    for kind in (Acknowledgement, RecordRefusal)
                ]
            }
        }
    },
}


def stream_routes(edge: Edge) -> APIRouter:
    """`/train-stream`, short and under each model."""
    refusals = documented(400, 404, 413, 415, 422, 500, 503)
    router = APIRouter(tags=["vectors"])

    async def short() -> Response:
        return _Stream(edge, edge.settings.default_model)

    async def long(model: ModelName) -> Response:
        return _Stream(edge, model)

    for path, endpoint in (("", short), ("/models/{model}", long)):
        router.add_api_route(
            f"{path}/train-stream",
            endpoint,
            methods=["POST"],
            summary="Train without a pause; each record is acknowledged when it is durable",
            description=f"{getdoc(train_stream)}\n\n{_WEBSOCKET}",
            response_model=None,
            response_class=Response,
            responses={200: _LINES, **refusals},
            openapi_extra={"requestBody": _BODY, "parameters": [_ON_ERROR, _LOSS, _BRANCH]},
        )
    return router


class _Stream(Response):
    """An answer that begins before its request has ended."""

    def __init__(self, edge: Edge, model: str) -> None:
        super().__init__()
        self._edge = edge
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        await train_stream(self._edge, self._model, scope, receive, send)
