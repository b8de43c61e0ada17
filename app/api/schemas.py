"""The JSON forms of requests and answers, for OpenAPI and for control answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.routes.reduce import ReduceParameters
from app.config import Component
from app.types import ModelSummary

Nested = Annotated[
    list[Any], Field(description="numbers, nested by the leading dimensions; rows of equal length")
]


class Base64Array(BaseModel):
    """An array as base64 of its little-endian, row-major bytes."""

    model_config = ConfigDict(extra="forbid")

    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    dtype: Literal["float32", "float16", "bfloat16", "float64"]
    data: str = Field(json_schema_extra={"format": "byte"})


Array = Nested | Base64Array


class ReduceRequest(ReduceParameters):
    """The JSON body of `POST /reduce`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"hidden_states": [[0.1, -0.2]], "normalize": True}}
    )

    hidden_states: Array = Field(description="shape (…, input_size)")


class ReduceAnswer(BaseModel):
    """The JSON answer of `POST /reduce`; the same stamps stand in the headers."""

    reduced: Array = Field(description="shape (…, n_components), float32")
    shape: list[int]
    model: str
    version: int
    digest: str = Field(pattern="^[0-9a-f]{16}$")


class TrainStepRequest(BaseModel):
    """The JSON body of `POST /train-step`."""

    model_config = ConfigDict(extra="forbid")

    hidden_states: Array = Field(description="shape (…, input_size)")
    targets: Array | None = Field(None, description="shape (…, n_components), if the loss asks")
    sample_weights: Array | None = Field(None, description="shape (…), one weight for each row")
    loss: str | Component | None = Field(None, description="instead of the config's loss")


class ModelList(BaseModel):
    """Every model here, and the one that the short paths mean."""

    default: str
    models: list[ModelSummary]


class CheckpointAnswer(BaseModel):
    """The version that is on disk now."""

    model: str
    version: int


class Health(BaseModel):
    """A probe's answer."""

    status: Literal["live", "ready", "starting", "draining", "closed"]
    serving: bool
    training: bool


class FieldFault(BaseModel):
    """Where in the request the fault is."""

    pointer: str
    message: str


class Problem(BaseModel):
    """RFC 9457: why a request was refused. Nothing changed."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="the request's id, as in the header Request-Id")
    code: str = Field(description="one machine word")
    error: str = Field(description="the same text as detail")
    errors: list[FieldFault] | None = Field(None, max_length=10)
