from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.faults import Fault, first_fault


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(1, ge=1, le=9)
    word: Literal["a", "b"] = "a"
    flag: bool = False
    parts: list[int] = Field(default_factory=list)
    rows: int | Literal["auto"] = "auto"
    share: Annotated[float, Field(ge=1)] | Literal["inf"] = "inf"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"count": "1"}, Fault("/count", "wrong_type", "expected an integer")),
        ({"count": True}, Fault("/count", "wrong_type", "expected an integer")),
        ({"count": 0}, Fault("/count", "out_of_range", "expected at least 1")),
        ({"count": 10}, Fault("/count", "out_of_range", "expected at most 9")),
        ({"word": "c"}, Fault("/word", "out_of_range", "expected 'a' or 'b'")),
        ({"flag": 1}, Fault("/flag", "wrong_type", "expected true or false")),
        ({"parts": [1, "x"]}, Fault("/parts/1", "wrong_type", "expected an integer")),
        ({"rows": "x"}, Fault("/rows", "wrong_type", "expected an integer, or 'auto'")),
        ({"share": "x"}, Fault("/share", "wrong_type", "expected a number, or 'inf'")),
        ({"share": 0}, Fault("/share", "out_of_range", "expected at least 1.0, or 'inf'")),
        ({"int": 1, "float": 2}, Fault("/int", "unknown_field", "there is no such field")),
        ({"other": 1}, Fault("/other", "unknown_field", "there is no such field")),
        ({"a/b~": 1}, Fault("/a~1b~0", "unknown_field", "there is no such field")),
        ([], Fault("/", "wrong_type", "expected an object")),
    ],
)
def test_the_first_fault_is_said_in_our_words(document: object, fault: Fault) -> None:
    with pytest.raises(ValidationError) as error:
        Document.model_validate(document)
    assert first_fault(error.value) == fault


def test_an_over_long_name_is_cut() -> None:
    with pytest.raises(ValidationError) as error:
        Document.model_validate({"x" * 5000: 1})
    assert len(first_fault(error.value).pointer) == 65
