"""POST /reduce: hidden_states in, reduced vectors out, stamped."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.api.asgi import Answer, Receive, Scope, read_body
from app.api.bodies import refusal
from app.api.edge import (
    Edge,
    decode,
    hidden_states_of,
    id_fields,
    is_long_to_encode,
    query_options,
    stamp_headers,
)
from app.api.negotiation import JSON, choose_reader, choose_writer
from app.codecs import CODECS, BodySchema
from app.faults import OURS
from app.service import NO_OPTIONS, ReduceOptions

READS = frozenset(CODECS)
_WHOLE = frozenset({"mask"})
_ARRAYS = frozenset({"hidden_states"}) | _WHOLE
_OPTIONS = frozenset(
    {"version", "require_version", "normalize", "dimensions", "encoding", "branch"}
)
_NO_QUERY: frozenset[str] = frozenset()

_FROM_TEXT = {"from_text": True}

Version = Annotated[int, Field(ge=1, lt=2**63)]


def _version_or_live(value: object, info: ValidationInfo) -> object:
    """One message for both forms; a union would name each of its members in the pointer."""
    is_text = bool(info.context) and isinstance(value, str) and value.isdecimal()
    number = int(str(value)[:19]) if is_text else value
    if value == "live" or (type(number) is int and 1 <= number < 2**63):
        return number
    code = "out_of_range" if type(number) is int else "wrong_type"
    raise PydanticCustomError(f"{OURS}{code}", 'expected a version number, from 1, or "live"')


VersionOrLive = Annotated[
    int | Literal["live"],
    PlainValidator(_version_or_live),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "const": "live"}]}
    ),
]


class ReduceParameters(BaseModel):
    """What may stand beside hidden_states."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: VersionOrLive | None = Field(
        None, description='a retained version, or "live" for the newest published one'
    )
    require_version: Version | None = Field(
        None, description="412 unless this is the version that would answer"
    )
    normalize: bool = Field(False, description="divide each reduced row by its L2 norm")
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="keep the first components (nested models only); before normalize"
    )
    encoding: Literal["float", "base64"] = Field(
        "float", description="how a JSON answer writes `reduced`"
    )
    branch: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="which of the branches that the model's layers declare; the first if none"
    )


_DEFAULTS = ReduceParameters()


async def reduce(edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
    """Makes vectors smaller; the answer names model, version and digest of the weights used.

    A binary body carries its options as query parameters. The answer is of the body's media type
    unless Accept names another one.
    """
    reader = choose_reader(scope, READS)
    writer = choose_writer(scope, reader)
    is_json = reader.media_type == JSON
    limits = edge.settings
    limit = limits.max_json_body_bytes if is_json else limits.max_binary_body_bytes
    octets = await read_body(scope, receive, limit)
    ids = id_fields(edge, model)
    body = await decode(edge, reader, octets, reduce_schema(limits.max_rows, ids))
    if scope["query_string"]:
        query = query_options(scope, _NO_QUERY if is_json else _OPTIONS)
        parameters = parse_query(query)
    else:
        parameters = parse_options(body.options) if body.options else _DEFAULTS
    hidden_states = hidden_states_of(body)
    reduced = await edge.service.reduce(
        model,
        hidden_states,
        _verb_options(parameters),
        mask=body.arrays.get("mask"),
        ticket=scope["ticket"],
    )
    edge.metrics.add_rows(model, "reduce", hidden_states.size // hidden_states.shape[-1])
    headers = stamp_headers(writer.media_type, reduced.stamp)
    encode = partial(writer.encode, reduced, encoding=parameters.encoding)
    is_long = is_long_to_encode(reduced, is_text=writer.media_type == JSON)
    return Answer(await edge.service.aside(encode) if is_long else encode(), headers)


@lru_cache(maxsize=8)
def reduce_schema(max_rows: int, ids: frozenset[str] = frozenset()) -> BodySchema:
    """What the body of a reduce may hold; `ids` names the arrays that the model takes as such."""
    return BodySchema(arrays=_ARRAYS, options=_OPTIONS, max_rows=max_rows, whole=_WHOLE, ids=ids)


def parse_options(options: dict[str, Any]) -> ReduceParameters:
    """Options of a JSON body: strict types.

    Raises:
        Unacceptable: with the pointer of the first fault.
    """
    try:
        return ReduceParameters.model_validate(options)
    except ValidationError as error:
        raise refusal(error, ReduceParameters) from None


def parse_query(options: dict[str, str]) -> ReduceParameters:
    """Options of a binary body: the same, from text.

    Raises:
        Unacceptable: with the name of the first fault.
    """
    try:
        return ReduceParameters.model_validate_strings(options, context=_FROM_TEXT)
    except ValidationError as error:
        raise refusal(error, ReduceParameters) from None


def _verb_options(parameters: ReduceParameters) -> ReduceOptions:
    if parameters is _DEFAULTS:
        return NO_OPTIONS
    return ReduceOptions(**parameters.model_dump(exclude={"encoding"}))
