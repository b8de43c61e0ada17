"""GET /models/{model}/versions/{version}/alignment: from one version's space into another's."""

from __future__ import annotations

from functools import partial
from inspect import getdoc
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.asgi import Scope
from app.api.bodies import refusal
from app.api.edge import Edge, query_options, stamp_headers
from app.api.errors import documented
from app.api.negotiation import JSON, SAFETENSORS, choose_writer
from app.api.routes.reduce import VersionOrLive
from app.api.routes.versions import VersionNumber, version_number
from app.api.schemas import OCTETS, ModelName, Nested, query_parameter, refer_to
from app.codecs import CODECS, Codec, pack
from app.types import AlignedBy, Alignment, Json, Reduced

_REFUSALS = documented(400, 404, 406, 409, 422, 429, 500, 503)
_STAMPS = ("Model-Name", "Model-Version", "Model-Digest", "Aligned-To-Version", "Aligned-To-Digest")


class AlignmentParameters(BaseModel):
    """The query of an alignment."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to: VersionOrLive = Field(
        description='into whose space: a retained version, or "live" for the newest published one'
    )


class AlignmentAnswer(BaseModel):
    """The JSON answer: `aligned = reduced @ rotation`, for reduced vectors as rows."""

    rotation: Nested = Field(description="shape (n_components, n_components), orthogonal, float32")
    shape: list[int]
    model: str
    version: int = Field(description="whose vectors are turned")
    digest: str = Field(pattern="^[0-9a-f]{16}$")
    to: int = Field(description="into whose space")
    to_digest: str = Field(pattern="^[0-9a-f]{16}$")
    aligned_by: AlignedBy = Field(
        description="what the rotation is computed from: the second moment of every vector that "
        "was seen, or what both versions make of those that the model remembers"
    )
    vectors: int = Field(description="that the model remembers; the figures are of them")
    queries: int = Field(description="of them, whose nearest ten are looked for")
    cosine: float = Field(description="mean, of what the two versions make of the same vector")
    cosine_aligned: float = Field(description="the same, of the first one's turned")
    nn10: float = Field(
        description="share of the nearest ten by the full vectors that queries by `version` find "
        "in a corpus by `to`"
    )
    nn10_aligned: float = Field(description="the same, of queries turned")
    nn10_own: float = Field(description="the same, of queries by `to` itself")


_PARAMETER = query_parameter(
    "to",
    str(AlignmentParameters.model_fields["to"].description),
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "const": "live"}]},
) | {"required": True}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": AlignmentAnswer,
        "content": dict.fromkeys(sorted(CODECS.keys() - {JSON}), OCTETS),
        "headers": refer_to(*_STAMPS),
    }
}


def alignment_routes(edge: Edge) -> APIRouter:
    """The ways between the versions of each model."""
    router = APIRouter(tags=["models"], responses=_REFUSALS)

    async def endpoint(model: ModelName, version: VersionNumber, request: Request) -> Response:
        return await _align(edge, model, version, request.scope)

    router.add_api_route(
        "/models/{model}/versions/{version}/alignment",
        endpoint,
        methods=["GET"],
        summary="What turns the vectors of one version into the space of another",
        description=getdoc(_align),
        response_model=None,
        responses=_ANSWER,
        openapi_extra={"parameters": [_PARAMETER]},
    )
    return router


async def _align(edge: Edge, model: str, version: str, scope: Scope) -> Response:
    """Tells the orthogonal map from one version into another, and what it is worth.

    `aligned = reduced @ rotation` moves stored vectors of `version` into the space of `to`; no
    cosine among them changes. The figures are of the vectors that the model remembers. As
    safetensors the tensor is `rotation`, and everything else stands in the metadata; as .npy there
    is the map alone, with the stamps in the headers.
    """
    writer = choose_writer(scope, CODECS[JSON])
    number, to = version_number(version), _target(scope)
    found = await edge.service.alignments.align(model, number, to)
    body = await edge.service.aside(partial(_written, found, writer))
    return Response(
        body,
        headers={
            **stamp_headers(writer.media_type, found.stamp),
            "aligned-to-version": str(found.to.version),
            "aligned-to-digest": found.to.digest,
        },
    )


def _target(scope: Scope) -> VersionOrLive:
    query = query_options(scope, frozenset(AlignmentParameters.model_fields))
    try:
        return AlignmentParameters.model_validate(query, context={"from_text": True}).to
    except ValidationError as error:
        raise refusal(error, AlignmentParameters) from None


def _written(found: Alignment, writer: Codec) -> bytes:
    if writer.media_type == JSON:
        document = {"rotation": found.rotation, "shape": found.rotation.shape, **_told(found)}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if writer.media_type == SAFETENSORS:
        metadata = {name: str(value) for name, value in _told(found).items()}
        return pack({"rotation": found.rotation}, metadata)
    return writer.encode(Reduced(found.rotation, found.stamp))


def _told(found: Alignment) -> Json:
    """Everything but the map."""
    return {
        "model": found.stamp.model,
        "version": found.stamp.version,
        "digest": found.stamp.digest,
        "to": found.to.version,
        "to_digest": found.to.digest,
        "aligned_by": found.aligned_by,
        "vectors": found.vectors,
        "queries": found.queries,
        "cosine": found.cosine,
        "cosine_aligned": found.cosine_aligned,
        "nn10": found.nn10,
        "nn10_aligned": found.nn10_aligned,
        "nn10_own": found.nn10_own,
    }
