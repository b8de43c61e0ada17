"""POST /v1/embeddings: vectors reduced at once, texts by way of the upstream."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.asgi import Answer, Receive, Scope, read_body
from app.api.bodies import refusal
from app.api.edge import Edge, is_long_to_decode, is_long_to_encode, stamp_headers
from app.api.negotiation import JSON, choose_media_type
from app.api.openai.names import Name, find_name, written
from app.codecs.embeddings import EmbeddingsBody, EmbeddingsCodec
from app.errors import Unacceptable
from app.service import ReduceOptions
from app.settings import Settings
from app.types import FloatArray, Json, Reduced, TextInput, TextRequest

_READS = frozenset({JSON})
_NO_TOKENS = {"prompt_tokens": 0, "total_tokens": 0}
# Who somebody's customer is: no message repeats it.
_EndUser = Annotated[str, Field(max_length=1024, json_schema_extra={"writeOnly": True})]


class EmbeddingsParameters(BaseModel):
    """What may stand beside `input`; everything else is ignored, as such servers do."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = Field(
        None,
        max_length=512,
        description="one of ours, as `name`, `name@version` or `name@live`; what an answer calls "
        "its model; or the upstream's, for the default model",
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="numbers (the default), or base64 of little-endian float32"
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="what the model has; or fewer, of a nested model"
    )
    normalize: bool | None = Field(
        None, description="divide each row by its L2 norm; the server's setting decides otherwise"
    )
    input_type: str | None = Field(
        None,
        max_length=64,
        description='"vector": integers are numbers of a vector, not tokens; anything else is for '
        "the upstream",
    )
    user: _EndUser | None = Field(None, description="passed on to the upstream")


class Embeddings:
    """The verb of the protocol, with the codec of its bodies.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        options = frozenset(EmbeddingsParameters.model_fields)
        self._codec = EmbeddingsCodec(options, max_rows=settings.max_rows)
        self._max_bytes = settings.max_json_body_bytes

    async def answer(self, edge: Edge, model: str, scope: Scope, receive: Receive) -> Answer:
        """Makes vectors smaller, or texts small vectors; in OpenAI's form.

        Vectors as `input` are reduced as they are. Texts and tokens go to the configured upstream,
        and its embeddings come back reduced. The answer's `model` names the space of its vectors:
        upstream's model, model and version.
        """
        del model  # the body says which
        choose_media_type(scope, _READS)
        body = await self._read(edge, scope, receive)
        parameters = _parse(body)
        name = find_name(edge, scope, parameters.model)
        options = _options(edge, name, parameters)
        if isinstance(body.input, np.ndarray):
            reduced, beside = await _reduce(edge, name.model, body.input, options, scope)
        else:
            reduced, beside = await _reduce_texts(
                edge, name, body.input, parameters, options, scope
            )
        edge.metrics.add_rows(name.model, "reduce", len(reduced.array))
        beside |= {"version": reduced.stamp.version, "digest": reduced.stamp.digest}
        encoding = parameters.encoding_format or "float"
        encode = partial(self._codec.encode, reduced.array, beside, encoding=encoding)
        is_long = is_long_to_encode(reduced, is_text=True)
        octets = await edge.service.aside(encode) if is_long else encode()
        return Answer(octets, stamp_headers(JSON, reduced.stamp))

    async def _read(self, edge: Edge, scope: Scope, receive: Receive) -> EmbeddingsBody:
        octets = await read_body(scope, receive, self._max_bytes)
        if is_long_to_decode(octets, is_json=True):
            return await edge.service.aside(partial(self._codec.decode, octets))
        return self._codec.decode(octets)


async def _reduce(
    edge: Edge, model: str, vectors: FloatArray, options: ReduceOptions, scope: Scope
) -> tuple[Reduced, Json]:
    try:
        reduced = await edge.service.reduce(model, vectors, options, ticket=scope["ticket"])
    except Unacceptable as error:
        error.pointer = error.pointer.replace("/hidden_states", "/input", 1)
        raise
    return reduced, {"model": written(reduced.stamp), "usage": _NO_TOKENS}


async def _reduce_texts(
    edge: Edge,
    name: Name,
    texts: TextInput,
    parameters: EmbeddingsParameters,
    options: ReduceOptions,
    scope: Scope,
) -> tuple[Reduced, Json]:
    made = await edge.service.texts.reduce(
        name.model,
        TextRequest(inputs=texts, input_type=parameters.input_type, user=parameters.user),
        options,
        ticket=scope["ticket"],
        upstream=name.upstream,
    )
    embedded = made.embedded
    usage = {"prompt_tokens": embedded.prompt_tokens, "total_tokens": embedded.total_tokens}
    return made.reduced, {"model": written(made.reduced.stamp, embedded.model), "usage": usage}


def _parse(body: EmbeddingsBody) -> EmbeddingsParameters:
    try:
        return EmbeddingsParameters.model_validate(body.options)
    except ValidationError as error:
        raise refusal(error, EmbeddingsParameters) from None


def _options(edge: Edge, name: Name, parameters: EmbeddingsParameters) -> ReduceOptions:
    normalize = parameters.normalize
    return ReduceOptions(
        version=name.version,
        normalize=edge.settings.openai_normalize if normalize is None else normalize,
        dimensions=_dimensions(edge, name.model, parameters.dimensions),
    )


def _dimensions(edge: Edge, model: str, asked: int | None) -> int | None:
    """How many components are kept; none in particular where all are asked for.

    Raises:
        Unacceptable: another number than this model can give.
    """
    live = edge.service.live(model)
    if not live.snapshot.is_shared:
        raise Unacceptable(
            "vectors_only",
            f"expected a model that makes vectors of vectors, and model {model!r} does not; send "
            f"its rows to /models/{model}/reduce",
            pointer="/model",
        )
    n_components = live.snapshot.n_components
    if asked is None or asked == n_components:
        return None
    if asked > n_components or not live.config.nested:
        allowed = f"from 1 to {n_components}" if live.config.nested else f"{n_components}"
        raise Unacceptable(
            "dimensions_unsupported",
            f"expected dimensions {allowed} for model {model!r}, got {asked}; or leave it out",
            pointer="/dimensions",
        )
    return asked
