"""Small JSON bodies of the control routes, checked as strictly as those of the hot verbs."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

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
        raise refusal(error) from None


def refusal(error: ValidationError) -> Unacceptable:
    """What a client is told of the first fault."""
    fault = first_fault(error)
    return Unacceptable(fault.code, f"{fault.pointer}: {fault.sentence}", pointer=fault.pointer)
