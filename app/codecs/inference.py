"""Bodies of the Open Inference Protocol: a JSON document, and binary tensors behind it.

Sources: the protocol's REST specification and Triton's binary tensor data extension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
import simdjson

from app.codecs.codec import Buffer
from app.codecs.dtypes import FLOAT32
from app.codecs.inference_document import flag, members, only_tensor, parameters_of, typed
from app.codecs.inference_tensors import DeclaredTensor, read_raw, read_tensor
from app.codecs.parsers import Parsers
from app.codecs.strict_json import not_an_object
from app.errors import Unimplemented
from app.types import FloatArray, Json, Reduced

INPUT = "hidden_states"
OUTPUT = "reduced"

_ELSEWHERE = ("classification", "shared_memory_region")
_REMEMBERED_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """One inference request, decoded.

    Shape: hidden_states `(…, input_size)`, float32; a view of the body where its bytes are so.

    Attributes:
        parameters: of the request; those that mean nothing here are among them.
        is_binary: whether the reduced tensor is wanted in bytes.
        id: what the client calls the request.
    """

    hidden_states: FloatArray
    parameters: Json = field(default_factory=dict)
    is_binary: bool = False
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The JSON part understood; it says where the values are, or holds them."""

    tensor: DeclaredTensor
    parameters: Json
    is_binary: bool
    id: str | None


class InferenceCodec:
    """Reads requests and writes answers; any thread may use it."""

    def __init__(self) -> None:
        self._parsers = Parsers()
        # Requests come in a few shapes, again and again: what says so is understood once.
        self._understand_once = lru_cache(maxsize=256)(self._understand)

    def decode(
        self,
        body: Buffer,
        header_length: int | None,
        *,
        input_size: int,
        max_rows: int,
        takes_ids: bool = False,
    ) -> InferRequest:
        """The request that a body holds.

        Args:
            body: all of it, uncompressed.
            header_length: how many of its bytes are JSON; None for all of them, and 0 for the raw
                form, whose body is the tensor alone.
            input_size: width of the model that it is for; only the raw form does not say its own.
            max_rows: most rows.
            takes_ids: whether that model takes ids, which may be integers.

        Raises:
            Malformed: the JSON part is not strict JSON.
            Unacceptable: it is, and the request cannot be understood or used.
            TooLarge: too many rows.
            Unimplemented: the answer is wanted in a form that is not offered.
        """
        if header_length == 0:
            rows = read_raw(body, input_size=input_size, max_rows=max_rows, takes_ids=takes_ids)
            return InferRequest(hidden_states=rows, is_binary=True)
        if header_length is None:
            head, length = self._understand(body, max_rows, takes_ids), len(body)
        else:
            text, length = bytes(memoryview(body)[:header_length]), header_length
            is_small = length <= _REMEMBERED_BYTES
            understand = self._understand_once if is_small else self._understand
            head = understand(text, max_rows, takes_ids)
        return InferRequest(
            hidden_states=head.tensor.values(body, length),
            parameters=head.parameters,
            is_binary=head.is_binary,
            id=head.id,
        )

    def encode(self, reduced: Reduced, request: InferRequest) -> tuple[bytes, int | None]:
        """The answer, and how many of its bytes are JSON; None where all of them are."""
        stamp, array = reduced.stamp, reduced.array
        output: Json = {"name": OUTPUT, "shape": array.shape, "datatype": FLOAT32.datatype}
        if request.is_binary:
            output["parameters"] = {"binary_data_size": array.nbytes}
        else:
            output["data"] = array.reshape(-1)
        answer = {"model_name": stamp.model, "model_version": str(stamp.version)}
        if request.id is not None:
            answer["id"] = request.id
        head = orjson.dumps(
            {**answer, "parameters": {"digest": stamp.digest}, "outputs": [output]},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        if not request.is_binary or not array.size:
            return head, None  # clients take the length of the JSON to mean that bytes follow
        values = array.astype(FLOAT32.stored, order="C", copy=False)
        return b"".join((head, values.data)), len(head)

    def _understand(self, text: Buffer, max_rows: int, takes_ids: bool) -> _Head:
        return self._parsers.read(text, lambda root: _read(root, text, max_rows, takes_ids))


def _read(root: Any, text: Buffer, max_rows: int, takes_ids: bool) -> _Head:
    if type(root) is not simdjson.Object:
        raise not_an_object()
    members(root)
    parameters = parameters_of(root)
    identity = root.get("id")
    is_binary, num_lists = _wanted(root, parameters)
    fields = only_tensor(root.get("inputs"), INPUT, "/inputs")
    # Two more lists than the data has: the inputs and the shape.
    tensor = read_tensor(
        fields, text, max_rows=max_rows, num_other_lists=num_lists + 2, takes_ids=takes_ids
    )
    return _Head(
        tensor=tensor,
        parameters=parameters,
        is_binary=is_binary,
        id=None if identity is None else typed(identity, str, "/id"),
    )


def _wanted(root: simdjson.Object, parameters: Json) -> tuple[bool, int]:
    """Whether the output is wanted in bytes; and how many lists of the document say so."""
    by_default = flag(parameters, "binary_data_output", by_default=False)
    outputs = root.get("outputs")
    if outputs is None or not len(typed(outputs, simdjson.Array, "/outputs")):
        return by_default, int(outputs is not None)
    asked = parameters_of(only_tensor(outputs, OUTPUT, "/outputs"), "/outputs/0")
    for name in _ELSEWHERE:
        if asked.get(name):
            raise Unimplemented(
                "extension_not_offered",
                f"expected an output without the parameter {name}, whose extension is not offered; "
                "GET /v2 lists those that are",
            )
    return flag(asked, "binary_data", "/outputs/0", by_default=by_default), 1
