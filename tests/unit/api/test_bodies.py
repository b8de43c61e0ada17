from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from app.api.bodies import refusal
from app.api.inference.schemas import IndexRequest
from app.api.openai.embeddings import EmbeddingsParameters
from app.api.routes.controls import ConfigureRequest, RollbackRequest, ServingRequest
from app.api.routes.look import LookParameters
from app.api.routes.reduce import ReduceParameters
from app.errors import Unacceptable

_KINDS: tuple[type[BaseModel], ...] = (
    ReduceParameters,
    LookParameters,
    ConfigureRequest,
    ServingRequest,
    RollbackRequest,
    EmbeddingsParameters,
    IndexRequest,
)


# The id of somebody's customer: what came is never told, and `writeOnly` says so.
_NEVER_TOLD = (EmbeddingsParameters, "user")
_FIELDS = [(kind, name) for kind in _KINDS for name in kind.model_fields]


def _refused(kind: type[BaseModel], document: object) -> Unacceptable:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(document, strict=True)
    return refusal(error.value, kind)


@pytest.mark.parametrize(("kind", "name"), _FIELDS)
def test_every_option_of_a_request_names_its_pointer_what_came_and_what_is_allowed(
    kind: type[BaseModel], name: str
) -> None:
    error = _refused(kind, {name: {"wrong": 1}})
    assert error.pointer == f"/{name}"
    assert error.detail.startswith(f"/{name}: expected ")
    assert error.detail.endswith(", got an object") != ((kind, name) == _NEVER_TOLD)


@pytest.mark.parametrize(
    ("kind", "document", "detail"),
    [
        (ReduceParameters, {"dimensions": 0}, "expected an integer of at least 1 or null, got 0"),
        (ReduceParameters, {"encoding": "hex"}, "expected 'float' or 'base64', got 'hex'"),
        (ReduceParameters, {"version": "new"}, "from 1, or \"live\", got 'new'"),
        (ServingRequest, {}, "expected version, an integer of at least 1 or 'live', got none"),
        (ConfigureRequest, {"lr": []}, "one for each parameter group, got an array of 0 entries"),
        (ConfigureRequest, {"momentum": 0.5}, "there is no such field; expected one of: lr"),
    ],
)
def test_an_option_is_refused_with_what_may_stand_there(
    kind: type[BaseModel], document: object, detail: str
) -> None:
    assert detail in _refused(kind, document).detail
