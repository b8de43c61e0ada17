"""Small JSON bodies of the control routes, checked as strictly as those of the hot verbs."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.allowed import schema_of
from app.api.asgi import Receive, Scope, read_body
from app.api.negotiation import JSON, choose_media_type
from app.codecs import parse_object
from app.errors import Unacceptable
from app.faults import first_fault
from app.settings import Settings

T = TypeVar("T", bound=BaseModel)


async def read_document(scope: Scope, receive: Receive, kind: type[T], limits: Settings) -> T:
    """The JSON body of a request, as what it must be.

    Raises:
        UnsupportedMediaType, Malformed, TooLarge: it cannot be read.
        Unacceptable: with the pointer of the first fault.
    """
    choose_media_type(scope, frozenset({JSON}))
    body = await read_body(scope, receive, limits.max_json_body_bytes)
    try:
        return kind.model_validate(parse_object(body))
    except ValidationError as error:
        raise refusal(error, kind) from None


def refusal(error: ValidationError, kind: type[BaseModel]) -> Unacceptable:
    """What a client is told of the first fault in what should be of this kind."""
    fault = first_fault(error, schema_of(kind))
    return Unacceptable(fault.code, f"{fault.pointer}: {fault.told}", pointer=fault.pointer)
