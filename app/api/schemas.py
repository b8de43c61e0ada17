"""The JSON forms of requests and answers, for OpenAPI and for control answers."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app.api.routes.reduce import ReduceParameters
from app.config import Component
from app.types import Json, ModelSummary

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
Absent = SkipJsonSchema[None]  # a field may be left out; null is refused


def _without_default(schema: Json) -> None:
    del schema["default"]


class ReduceRequest(ReduceParameters):
    """The JSON body of `POST /reduce`."""

    hidden_states: Array = Field(description="shape (…, input_size)")


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


class TrainStepRequest(BaseModel):
    """The JSON body of `POST /train-step`."""

    model_config = ConfigDict(extra="forbid")

    hidden_states: Array = Field(description="shape (…, input_size)")
    targets: Array | Absent = Field(
        None,
        description="shape (…, n_components), if the loss asks",
        json_schema_extra=_without_default,
    )
    sample_weights: Array | Absent = Field(
        None, description="shape (…), one weight for each row", json_schema_extra=_without_default
    )
    loss: str | Component | Absent = Field(
        None, description="instead of the config's loss", json_schema_extra=_without_default
    )


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
        None, description="where, if there is a place", json_schema_extra=_without_default
    )


def _header(description: str, **schema: Any) -> Json:
    return {"description": description, "schema": schema}


HEADERS: Json = {
    "Model-Name": _header("the model that answered", type="string"),
    "Model-Version": _header("the version of its weights", type="integer"),
    "Model-Digest": _header("their digest", type="string", pattern="^[0-9a-f]{16}$"),
    "Request-Id": _header("the client's own, if it sent a harmless one", type="string"),
    "Server-Timing": _header("milliseconds until the answer began", type="string"),
    "Retry-After": _header("seconds to wait before another try", type="integer"),
}


def refer_to(*headers: str) -> Json:
    """The headers of a response, by reference to `HEADERS`."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _wave(*shape: int) -> Json:
    """Numbers of some shape, in the form that takes one line."""
    values = np.sin(np.arange(np.prod(shape))).astype("<f2")
    data = b64encode(values.tobytes()).decode()
    return {"shape": list(shape), "dtype": "float16", "data": data}


def _example(summary: str, value: Json) -> Json:
    return {"summary": summary, "value": value}


# What "Try it out" sends. The first of each verb fits the demo model and that of the config below.
REDUCE_EXAMPLES: Json = {
    "base64": _example(
        "one row of 384 numbers, as base64",
        {"hidden_states": _wave(1, 384), "normalize": True},
    ),
    "lists": _example(
        "nested lists, for a model with input_size 4",
        {"hidden_states": [[0.1, -0.2, 0.3, 0.4]], "version": "live", "encoding": "base64"},
    ),
}
TRAIN_EXAMPLES: Json = {
    "base64": _example(
        "two rows of 384 numbers, as base64",
        {"hidden_states": _wave(2, 384), "sample_weights": [1.0, 0.5]},
    ),
    "lists": _example(
        "nested lists and targets, for a model with input_size 4 and n_components 2",
        {
            "hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]],
            "targets": [[0.1, 0.4], [0.4, 0.1]],
            "loss": "mse",
        },
    ),
}
CONFIG_EXAMPLES: Json = {
    "config": _example(
        "384 to 96",
        {
            "input_size": 384,
            "layers": [{"type": "QRReduction", "n_components": 96, "parametrization": "qr"}],
            "loss": {"type": "similarity"},
            "optimizer": {
                "type": "AdamW",
                "lr": 0.001,
                "groups": [{"match": "Q_reduced$", "weight_decay": 0.0}],
            },
        },
    ),
    "small": _example(
        "4 to 2, with a bias",
        {
            "input_size": 4,
            "layers": [{"type": "QRReduction", "n_components": 2, "bias": True}],
            "loss": "mse",
        },
    ),
}
