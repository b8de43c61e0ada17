"""What the server and its models say of themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import getdoc
from typing import Any

from fastapi import APIRouter, Request

from app import __version__
from app.api.edge import Edge
from app.api.errors import documented
from app.api.gate import caller_of
from app.api.inference.schemas import (
    ModelMetadata,
    ModelNames,
    ModelReady,
    ServedConfig,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorConfig,
    TensorMetadata,
)
from app.api.inference.versions import VersionText, describe
from app.api.routes.health import refuse_unready
from app.api.schemas import ModelName
from app.codecs.dtypes import FLOAT32
from app.codecs.inference import INPUT, OUTPUT
from app.codecs.inference_tensors import input_dtype

ROOT = "/v2"
MODEL = f"{ROOT}/models/{{model}}"
PLATFORM = "pytorch_safetensors"
_EXTENSIONS = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
]
Told = Callable[[Edge, str, str | None], Awaitable[Any]]


def metadata_routes(edge: Edge) -> APIRouter:
    """Health and metadata of the server and its models."""
    router = APIRouter(tags=["inference"])
    _add_server(router, edge)
    add_of_model(router, edge, "", _metadata, ModelMetadata)
    add_of_model(router, edge, "/ready", _ready, ModelReady)
    add_of_model(router, edge, "/config", _config, ServedConfig)
    return router


def add_of_model(router: APIRouter, edge: Edge, path: str, told: Told, answer: type) -> None:
    """Add a GET of a model, and the same of one version."""

    async def newest(model: ModelName) -> Any:
        return await told(edge, model, None)

    async def pinned(model: ModelName, version: VersionText) -> Any:
        return await told(edge, model, version)

    endpoints: dict[str, Callable[..., Any]] = {"": newest, "/versions/{version}": pinned}
    for which, endpoint in endpoints.items():
        router.add_api_route(
            f"{MODEL}{which}{path}",
            endpoint,
            methods=["GET"],
            summary=(getdoc(told) or "").partition("\n")[0],
            description=getdoc(told),
            response_model=answer,
            responses=documented(400, 404, 500, 503, path=ROOT),
        )


def _add_server(router: APIRouter, edge: Edge) -> None:
    @router.get(ROOT)
    @router.get(f"{ROOT}/", include_in_schema=False)
    async def server_metadata() -> ServerMetadata:
        """What answers here, and which extensions of the protocol it has."""
        return ServerMetadata(name="slimvec", version=__version__, extensions=_EXTENSIONS)

    @router.get(f"{ROOT}/health/live")
    async def server_live() -> ServerLive:
        """Whether the process answers at all."""
        return ServerLive()

    @router.get(f"{ROOT}/health/ready", responses=documented(503, path=ROOT))
    async def server_ready() -> ServerReady:
        """Whether requests should come here; 503 where `/health/ready` is."""
        refuse_unready(edge)
        return ServerReady()

    @router.get(f"{ROOT}/models")
    async def model_names(request: Request) -> ModelNames:
        """Every model in memory that the caller may see."""
        sees = caller_of(request.scope).sees
        return ModelNames(models=[m.model for m in edge.service.summaries() if sees(m.model)])


async def _metadata(edge: Edge, model: str, version: str | None) -> ModelMetadata:
    """What a model takes and gives, and the versions that may stand in a path."""
    described = await describe(edge, model, version)
    versions = sorted({described.version, *described.retained})
    datatype = _input_datatype(edge, model)
    return ModelMetadata(
        name=model,
        versions=[str(number) for number in versions],
        platform=PLATFORM,
        inputs=[_tensor(INPUT, datatype, described.input_shape)],
        outputs=[_tensor(OUTPUT, FLOAT32.datatype, described.output_shape)],
    )


async def _ready(edge: Edge, model: str, version: str | None) -> ModelReady:
    """Whether a model answers: 503 where it is not in memory."""
    if version is None:
        edge.service.live(model)  # probes come often, and need not look at the disk
    else:
        await describe(edge, model, version)
    return ModelReady(name=model)


async def _config(edge: Edge, model: str, version: str | None) -> ServedConfig:
    """A model as Triton's configuration would have it, for tools that read that.

    What a model is and how it learns stands in `GET /models/{model}`.
    """
    described = await describe(edge, model, version)
    datatype = _input_datatype(edge, model)
    return ServedConfig(
        name=model,
        platform=PLATFORM,
        backend="slimvec",
        max_batch_size=edge.settings.max_rows,
        input=[_row(INPUT, datatype, described.input_shape)],
        output=[_row(OUTPUT, FLOAT32.datatype, described.output_shape)],
        version_policy={"all": {}},
    )


def _input_datatype(edge: Edge, model: str) -> str:
    return input_dtype(takes_ids=edge.service.takes_ids(model)).datatype


def _tensor(name: str, datatype: str, row: Sequence[int | None]) -> TensorMetadata:
    return TensorMetadata(name=name, datatype=datatype, shape=[-1, *_lengths(row)])


def _row(name: str, datatype: str, row: Sequence[int | None]) -> TensorConfig:
    return TensorConfig(name=name, data_type=f"TYPE_{datatype}", dims=_lengths(row))


def _lengths(row: Sequence[int | None]) -> list[int]:
    """The protocol writes -1 for a length that may be any."""
    return [-1 if length is None else length for length in row]
