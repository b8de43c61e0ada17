"""POST /evaluate and POST /jvp: what a version makes of a batch, without any change."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.asgi import Answer, Receive, Scope, read_body
from app.api.bodies import refusal
from app.api.edge import Edge, decode, hidden_states_of, id_fields, query_options, stamp_headers
from app.api.negotiation import JSON, SAFETENSORS, choose_reader, choose_writer
from app.api.routes.reduce import VersionOrLive
from app.api.routes.train import ARRAYS
from app.codecs import Body, BodySchema, Codec, pack
from app.config import Component, parse_loss
from app.errors import ConfigInvalid, NotAcceptable, Unacceptable
from app.types import WHOLE_FIELDS, Batch, Beside, Derivative, Evaluate, Stamp

READS = frozenset({JSON, SAFETENSORS})
_TANGENTS = "tangents"
_EVALUATED = ARRAYS | {_TANGENTS}
_DIFFERENTIATED = frozenset({"hidden_states", _TANGENTS, "mask"})
_NO_QUERY: frozenset[str] = frozenset()
_MOST_LOSSES = 16


class LookParameters(BaseModel):
    """What may stand beside the arrays of a look at one version."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: VersionOrLive | None = Field(
        None, description='a retained version, or "live" for the newest published one'
    )
    branch: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="which of the branches that the model's layers declare; the first if none"
    )


_OPTIONS = frozenset(LookParameters.model_fields)


async def evaluate(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Tells losses and quality metrics of one version on a batch; nothing changes.

    Losses are those that are named, or the config's where the batch has what it needs. Metrics are
    those that the batch has enough rows for: how well neighbours and cosines are kept, where the
    positives come among each other, how much of the rows' energy the weights keep, how far reduced
    rows move with theirs (along the given tangents, or random ones).
    """
    body, options = await _read(edge, model, scope, receive, _EVALUATED, _OPTIONS | {"loss"})
    losses = _losses(options.pop("loss"), scope) if "loss" in options else ()
    parameters = _parse(options, scope)
    arrays = dict(body.arrays)
    tangents = arrays.pop(_TANGENTS, None)
    asked = Evaluate(
        batch=Batch(**arrays), losses=losses, tangents=tangents, branch=parameters.branch
    )
    found = await edge.service.evaluations.evaluate(model, asked, parameters.version)
    stamp = Stamp(found.model, found.version, found.digest)
    return Answer(orjson.dumps(found), stamp_headers(JSON, stamp))


async def jvp(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Tells the reduced vectors of one version, and their derivatives along given tangents.

    By forward-mode differentiation in float32: `derivative` is the layers' Jacobian at each row
    times its tangent. The answer is of the body's media type unless Accept names another one.
    """
    reader = choose_reader(scope, READS)
    writer = choose_writer(scope, reader)
    if writer.media_type not in READS:
        raise NotAcceptable(
            "not_acceptable", f"expected Accept to allow one of {', '.join(sorted(READS))}, or */*"
        )
    body, options = await _read(edge, model, scope, receive, _DIFFERENTIATED, _OPTIONS)
    parameters = _parse(options, scope)
    if _TANGENTS not in body.arrays:
        raise Unacceptable(
            "missing_field",
            "expected the field tangents, of the shape of hidden_states",
            pointer="/tangents",
        )
    found = await edge.service.evaluations.differentiate(
        model,
        body.arrays["hidden_states"],
        body.arrays[_TANGENTS],
        Beside(mask=body.arrays.get("mask"), branch=parameters.branch),
        parameters.version,
    )
    written = await edge.service.aside(partial(_written, found, writer))
    return Answer(written, stamp_headers(writer.media_type, found.stamp))


async def _read(
    edge: Edge,
    model: str,
    scope: Scope,
    receive: Receive,
    arrays: frozenset[str],
    options: frozenset[str],
) -> tuple[Body, dict[str, Any]]:
    """The body's arrays, hidden_states among them, and the options wherever they stand."""
    reader, limits = choose_reader(scope, READS), edge.settings
    is_json = reader.media_type == JSON
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    schema = BodySchema(
        arrays=arrays,
        options=options,
        max_rows=limits.max_rows,
        whole=WHOLE_FIELDS,
        ids=id_fields(edge, model),
    )
    body = await decode(edge, reader, await read_body(scope, receive, limit), schema)
    hidden_states_of(body)
    query = query_options(scope, _NO_QUERY if is_json else options)
    return body, {**body.options, **query}


def _parse(options: dict[str, Any], scope: Scope) -> LookParameters:
    """The options, strict; in a query they are text."""
    context = {"from_text": True} if scope["query_string"] else None
    try:
        return LookParameters.model_validate(options, context=context)
    except ValidationError as error:
        raise refusal(error, LookParameters) from None


def _losses(value: object, scope: Scope) -> tuple[Component, ...]:
    """The named losses; in a query their names stand one after the other, with commas."""
    if isinstance(value, str) and scope["query_string"]:
        value = value.split(",")
    if not isinstance(value, list):
        return (parse_loss(value),)
    if not 1 <= len(value) <= _MOST_LOSSES:
        raise ConfigInvalid(
            f"expected 1 to {_MOST_LOSSES} losses, got {len(value)}", pointer="/loss"
        )
    return tuple(parse_loss(loss, pointer=f"/loss/{place}") for place, loss in enumerate(value))


def _written(found: Derivative, writer: Codec) -> bytes:
    stamp = found.stamp
    arrays = {"reduced": found.reduced, "derivative": found.derivative}
    if writer.media_type == SAFETENSORS:
        metadata = {"model": stamp.model, "version": str(stamp.version), "digest": stamp.digest}
        return pack(arrays, metadata)
    stamped = {"model": stamp.model, "version": stamp.version, "digest": stamp.digest}
    document = {**arrays, "shape": found.reduced.shape, **stamped}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
