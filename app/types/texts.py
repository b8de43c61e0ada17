"""The seam between the service and the server that makes embeddings of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from app.types.values import FloatArray, Reduced

TextInput: TypeAlias = list[str] | list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """Texts, or lists of tokens, of which embeddings are wanted.

    Attributes:
        inputs: at least one, none of them empty.
        input_type: what the texts are for ("query"), where the upstream tells that apart.
        user: on whose behalf.
    """

    inputs: TextInput
    input_type: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Embeddings of texts.

    Attributes:
        hidden_states: a row for each text, in order; finite.
        model: what the upstream calls the model that made them.
        prompt_tokens, total_tokens: what it counted.
    """

    hidden_states: FloatArray
    model: str
    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class ReducedTexts:
    """Texts made small vectors: by which weights, and from whose embeddings."""

    reduced: Reduced
    embedded: Embedded


class Embedder(Protocol):
    """Makes embeddings of texts.

    Raises:
        Unacceptable: it refuses these texts.
        QueueFull, Unavailable: it has no time; `retry_after_s` says when to come again.
        UpstreamFailed: it cannot be reached, fails, or answers something else.
    """

    async def embed(self, request: TextRequest, *, input_size: int) -> Embedded: ...

    async def close(self) -> None: ...
