"""The JSON forms of OpenAI's protocol, for OpenAPI and for control answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.openai.embeddings import EmbeddingsParameters
from app.codecs.embeddings import MAX_TEXTS

_Text = Annotated[str, Field(min_length=1)]
_Vector = Annotated[list[float], Field(min_length=1)]
_Tokens = Annotated[list[int], Field(min_length=1)]


class EmbeddingsRequest(EmbeddingsParameters):
    """The JSON body of `POST /v1/embeddings`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "small", "input": [[0.1, -0.2, 0.3]]}}
    )

    input: (
        _Text
        | Annotated[list[_Text], Field(min_length=1, max_length=MAX_TEXTS)]
        | _Vector
        | Annotated[list[_Vector], Field(min_length=1)]
        | _Tokens
        | Annotated[list[_Tokens], Field(min_length=1, max_length=MAX_TEXTS)]
    ) = Field(
        description="a vector or a list of them; a text or a list of them; tokens, or lists of them"
    )


class Embedding(BaseModel):
    """One vector of an answer."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="n_components numbers, or their base64")


class Usage(BaseModel):
    """What the upstream counted; zeros for vectors."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """The JSON answer of `POST /v1/embeddings`; the stamps stand in the headers, too."""

    object: Literal["list"] = "list"
    data: list[Embedding] = Field(description="in the order of the input")
    model: str = Field(description="the space of these vectors: [upstream model+]model@version")
    usage: Usage
    version: int
    digest: str = Field(pattern="^[0-9a-f]{16}$")


class OpenAIModel(BaseModel):
    """A name that may be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix seconds; 0 where nobody knows")
    owned_by: str = "slimvec"
    version: int
    input_size: int
    n_components: int


class OpenAIModelList(BaseModel):
    """Every name that may be asked for."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


class OpenAIError(BaseModel):
    """What a refusal says."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIRefusal(BaseModel):
    """Every refusal of these routes."""

    error: OpenAIError


READ_RAW = (EmbeddingsRequest, OpenAIRefusal)
