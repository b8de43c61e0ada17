"""The JSON forms of requests and answers, for OpenAPI and for control answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app.api.routes.look import LookParameters
from app.api.routes.reduce import ReduceParameters
from app.config import Component
from app.names import MODEL_NAME
from app.types import Json, ModelSummary, Update

# The pattern is for readers of the document: `check_model_name` refuses, with a code of its own.
ModelName = Annotated[
    str,
    Path(description="the model's name", json_schema_extra={"pattern": f"^{MODEL_NAME}$"}),
]
Nested = Annotated[
    list[Any], Field(description="numbers, nested by the leading dimensions; rows of equal length")
]


class Base64Array(BaseModel):
    """An array as base64 of its little-endian, row-major bytes."""

    model_config = ConfigDict(extra="forbid")

    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    dtype: Literal["float32", "float16", "bfloat16", "float64"]
    data: str = Field(json_schema_extra={"format": "byte"})


class Base64Numbers(BaseModel):
    """An array of whole numbers as base64 of its little-endian, row-major bytes."""

    model_config = ConfigDict(extra="forbid")

    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    dtype: Literal["float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"]
    data: str = Field(json_schema_extra={"format": "byte"})


Array = Nested | Base64Array
WholeNumbers = Nested | Base64Numbers
Absent = SkipJsonSchema[None]  # a field may be left out; null is refused


def without_default(schema: Json) -> None:
    """Leave the default out of a field that may be left out, and may not be null."""
    del schema["default"]


MASK = Field(
    None,
    description="shape (…, length): 1 or true for a token that counts, 0 or false for another one; "
    "for models with layers that use it",
    json_schema_extra=without_default,
)


class ReduceRequest(ReduceParameters):
    """The JSON body of `POST /reduce`."""

    hidden_states: Array = Field(description="shape (…, input_size)")
    mask: WholeNumbers | Absent = MASK


class ReduceAnswer(BaseModel):
    """The JSON answer of `POST /reduce`; the same stamps stand in the headers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "reduced": [[0.1, -0.2]],
                "shape": [1, 2],
                "model": "small",
                "version": 1,
                "digest": "0123456789abcdef",
            }
        }
    )

    reduced: Array = Field(description="shape (…, n_components), float32")
    shape: list[int]
    model: str
    version: int
    digest: str = Field(pattern="^[0-9a-f]{16}$")


class BatchRequest(BaseModel):
    """The arrays of a batch, and what is meant with them."""

    model_config = ConfigDict(extra="forbid")

    hidden_states: Array = Field(description="shape (…, input_size)")
    targets: Array | Absent = Field(
        None,
        description="shape (…, n_components), if the loss asks; of any width for some",
        json_schema_extra=without_default,
    )
    positives: Array | Absent = Field(
        None,
        description="like hidden_states: what belongs to each row, if the loss asks",
        json_schema_extra=without_default,
    )
    negatives: Array | Absent = Field(
        None,
        description="like hidden_states: what does not belong to each row, if the loss asks",
        json_schema_extra=without_default,
    )
    labels: WholeNumbers | Absent = Field(
        None,
        description="shape (…), a whole number for each row, if the loss asks",
        json_schema_extra=without_default,
    )
    sample_weights: Array | Absent = Field(
        None, description="shape (…), one weight for each row", json_schema_extra=without_default
    )
    mask: WholeNumbers | Absent = MASK
    branch: Annotated[str, Field(max_length=64)] | Absent = Field(
        None,
        description="which of the branches that the model's layers declare; the first if none",
        json_schema_extra=without_default,
    )


class TrainStepRequest(BatchRequest):
    """The JSON body of `POST /train-step`."""

    loss: str | Component | Absent = Field(
        None, description="instead of the config's loss", json_schema_extra=without_default
    )


class StreamRecord(TrainStepRequest):
    """One line of `POST /train-stream`."""

    key: str | Absent = Field(
        None,
        description="under which the record is applied once, however often it is sent",
        json_schema_extra=without_default,
    )


class EvaluateRequest(LookParameters, BatchRequest):
    """The JSON body of `POST /evaluate`."""

    tangents: Array | Absent = Field(
        None,
        description="like hidden_states: along which the sensitivity is taken; random ones if none",
        json_schema_extra=without_default,
    )
    loss: str | Component | list[str | Component] | Absent = Field(
        None,
        description="instead of the config's loss; several as a list",
        json_schema_extra=without_default,
    )


class DerivativeRequest(LookParameters):
    """The JSON body of `POST /jvp`."""

    hidden_states: Array = Field(description="shape (…, input_size)")
    tangents: Array = Field(description="like hidden_states: which way each row moves")
    mask: WholeNumbers | Absent = MASK


class DerivativeAnswer(BaseModel):
    """The JSON answer of `POST /jvp`; the same stamps stand in the headers."""

    reduced: Nested = Field(description="shape (…, n_components), float32")
    derivative: Nested = Field(description="of the same shape: how `reduced` changes")
    shape: list[int]
    model: str
    version: int
    digest: str = Field(pattern="^[0-9a-f]{16}$")


class Acknowledgement(BaseModel):
    """Every record up to `ack` is settled; the rest is about the newest one that was applied."""

    ack: int = Field(description="records count from 1")
    version: int | None
    step: int | None
    update: Update | None
    loss: float | None
    grad_norm: float | None
    learning_rate: float | list[float] | None
    rows: int | None
    serving: int | Absent = Field(
        None,
        description="what `live` stays at while the gate holds that version back",
        json_schema_extra=without_default,
    )
    records_per_s: float


class RecordRefusal(BaseModel):
    """One record was refused; as the last line, it is the first one that was not applied."""

    record: int
    error: Problem


NOT_LOADED = Field(
    description="models of the repository that could not be loaded, each with the reason"
)


class ModelList(BaseModel):
    """Every model here, and the one that the short paths mean."""

    default: str
    models: list[ModelSummary]
    not_loaded: dict[str, str] = NOT_LOADED


class CheckpointAnswer(BaseModel):
    """The version that is on disk now."""

    model: str
    version: int


class Health(BaseModel):
    """A probe's answer: the status code is about serving, the body about training too."""

    status: Literal[
        "live", "ready", "not_loaded", "out_of_memory", "starting", "draining", "closed", "failed"
    ]
    serving: bool = Field(description="whether vectors are made")
    training: bool = Field(description="whether every model of the repository accepts changes")
    reason: str = Field(description="why one of the two is off, or what a start is doing now")
    stopped: dict[str, str] = Field(
        description="models that accept no change, each with the `code` that says why"
    )
    not_loaded: dict[str, str] = NOT_LOADED


class FieldFault(BaseModel):
    """Where in the request the fault is."""

    pointer: str
    message: str


class Problem(BaseModel):
    """RFC 9457: why a request was refused; docs/errors.md lists every `code`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:slimvec:the_code",
                "title": "the kind, in words",
                "status": 400,
                "detail": "what was expected, what came, what to do",
                "instance": "0123456789abcdef",
                "code": "the_code",
                "error": "what was expected, what came, what to do",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="the request's id, as in the header Request-Id")
    code: str = Field(description="one machine word")
    error: str = Field(description="the same text as detail")
    errors: Annotated[list[FieldFault], Field(max_length=10)] | Absent = Field(
        None, description="where, if there is a place", json_schema_extra=without_default
    )
    reason: str | Absent = Field(
        None,
        description="of `step_rejected`: which guard refused, in one word",
        json_schema_extra=without_default,
    )


def _header(description: str, **schema: Any) -> Json:
    return {"description": description, "schema": schema}


def query_parameter(name: str, description: str, schema: Json | None = None) -> Json:
    """A query parameter that may be left out: text, unless its schema says otherwise."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema or {"type": "string"},
    }


IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": 'apply only at this version, like "41" (with the quotes); 412 otherwise',
    "schema": {"type": "string", "pattern": r'^(\*|"[0-9]{1,18}")$'},
}
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "apply this request once, however often it is sent under this key",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}
OCTETS: Json = {"schema": {"type": "string", "format": "binary"}}
HEADERS: Json = {
    "Model-Name": _header("the model that answered", type="string"),
    "Model-Version": _header("the version of its weights", type="integer"),
    "Model-Digest": _header("their digest", type="string", pattern="^[0-9a-f]{16}$"),
    "Aligned-To-Version": _header("the version whose space the map leads into", type="integer"),
    "Aligned-To-Digest": _header("its digest", type="string", pattern="^[0-9a-f]{16}$"),
    "Request-Id": _header("the client's own, if it sent a harmless one", type="string"),
    "Server-Timing": _header("milliseconds until the answer began", type="string"),
    "Idempotency-Replayed": _header(
        "true: this is the stored answer of before", type="string", const="true"
    ),
    "Idempotency-Window": _header(
        "how long a key is remembered: seconds of serving, and so many of the newest for longer",
        type="string",
        examples=["86400;keys=100000"],
    ),
    "Retry-After": _header("seconds to wait before another try", type="integer"),
}


def refer_to(*headers: str) -> Json:
    """The headers of a response, by reference to `HEADERS`."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
