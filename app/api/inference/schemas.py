"""The JSON documents of the protocol."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.types import Json

Parameter = str | float | bool
Parameters = dict[str, Parameter | None] | None  # null is as if it were left out
_EXAMPLE = {"name": "hidden_states", "datatype": "FP32", "shape": [1, 4]}


class _Document(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # `model_name` is the protocol's word


class ServerMetadata(_Document):
    """What answers here."""

    name: str
    version: str
    extensions: list[str] = Field(description="of the protocol, by the names that Triton gave them")


class ServerLive(_Document):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(ServerLive):
    """Requests should come here."""

    ready: Literal[True] = True


class ModelNames(_Document):
    """Every model in memory."""

    models: list[str]


class ModelReady(_Document):
    """The model answers."""

    name: str
    ready: Literal[True] = True


class TensorMetadata(_Document):
    """A tensor of a model; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(_Document):
    """What a model takes and gives."""

    name: str
    versions: list[str] = Field(description="those that may stand in a path")
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(_Document):
    """A tensor of a row, as Triton's model configuration has it."""

    name: str
    data_type: str
    dims: list[int]


class ServedConfig(_Document):
    """The part of Triton's model configuration that means something here."""

    name: str
    platform: str
    backend: str
    max_batch_size: int = Field(description="most rows of one request")
    input: list[TensorConfig]
    output: list[TensorConfig]
    version_policy: Json


class DurationStatistics(_Document):
    """How often, and how long in all."""

    model_config = ConfigDict(from_attributes=True)

    count: int
    ns: int


class InferenceStatistics(_Document):
    """Where the time went; nothing waits in a queue or comes out of a cache here."""

    success: DurationStatistics
    fail: DurationStatistics
    queue: DurationStatistics
    compute_input: DurationStatistics
    compute_infer: DurationStatistics
    compute_output: DurationStatistics
    cache_hit: DurationStatistics
    cache_miss: DurationStatistics


class MemoryUsage(_Document):
    """What the served weights take."""

    type: Literal["CPU", "GPU"]
    id: int
    byte_size: int


class ModelStatistics(_Document):
    """The counters of one model since the start, all of its versions together."""

    name: str
    version: str = Field(description="the one that serves now")
    last_inference: int = Field(description="milliseconds since 1970; 0: none yet")
    inference_count: int = Field(description="rows")
    execution_count: int = Field(description="requests that had rows")
    inference_stats: InferenceStatistics
    response_stats: Json
    batch_stats: list[Json]
    memory_usage: list[MemoryUsage]


class StatisticsAnswer(_Document):
    """The counters of one model or all."""

    model_stats: list[ModelStatistics]


class IndexRequest(_Document):
    """The JSON body of the repository's index; no body is the same as an empty object."""

    ready: bool = Field(False, description="only models in memory")


class IndexEntry(_Document):
    """One model of the repository."""

    name: str
    version: str | None = Field(None, description="the one that serves now")
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="why it is not in memory; empty where it is")


class RepositoryRequest(_Document):
    """The JSON body of load and unload; no body is the same as an empty object."""

    parameters: Parameters = Field(
        default_factory=dict,
        description="of load: `config`, the text of a config.json, and perhaps "
        "`file:<version>/model.safetensors`, weights in base64",
    )


class RequestTensor(_Document):
    """A tensor of a request: `data`, or the parameter `binary_data_size`."""

    name: Literal["hidden_states"]
    shape: list[int] = Field(max_length=8, description="(…, input_size)")
    datatype: Literal["FP32", "FP16", "BF16", "FP64"]
    parameters: Parameters = Field(
        default_factory=dict, description="`binary_data_size`: bytes of it behind the JSON part"
    )
    data: list[Any] = Field(
        default_factory=list,
        description="numbers, flat or nested as the shape is; FP16 and BF16 only in binary",
    )


class RequestedOutput(_Document):
    """A tensor that is asked for."""

    name: Literal["reduced"]
    parameters: Parameters = Field(
        default_factory=dict, description="`binary_data`: whether it is wanted in bytes"
    )


class InferenceRequest(_Document):
    """The JSON part of an inference; other fields mean nothing."""

    id: str = Field("", description="comes back in the answer")
    parameters: Parameters = Field(
        default_factory=dict,
        description="`binary_data_output`, `normalize`, `dimensions`, `version`, "
        "`require_version`; others mean nothing here",
    )
    inputs: list[RequestTensor] = Field(min_length=1, max_length=1, description="one tensor")
    outputs: list[RequestedOutput] = Field(
        default_factory=list, max_length=1, description="the one there is, if it is named at all"
    )


class AnswerTensor(TensorMetadata):
    """A tensor of an answer: `data`, or the parameter `binary_data_size`."""

    parameters: dict[str, Parameter] = Field(default_factory=dict)
    data: list[float] = Field(default_factory=list, description="flat, row-major")


class InferenceAnswer(_Document):
    """The JSON part of an answer; the same stamps stand in the headers."""

    model_name: str
    model_version: str
    id: str = ""
    parameters: dict[str, Parameter] = Field(description="`digest`: of the weights")
    outputs: list[AnswerTensor]


READ_RAW = (InferenceRequest, InferenceAnswer, IndexRequest, RepositoryRequest)

INFER_EXAMPLES: Json = {
    "json": {
        "summary": "one row, for a model with input_size 4",
        "value": {"id": "1", "inputs": [{**_EXAMPLE, "data": [0.1, -0.2, 0.3, 0.4]}]},
    },
}
INDEX_EXAMPLES: Json = {"ready": {"summary": "only models in memory", "value": {"ready": True}}}
LOAD_EXAMPLES: Json = {"plain": {"summary": "what is on disk", "value": {}}}
