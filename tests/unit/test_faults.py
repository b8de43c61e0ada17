from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from app.allowed import schema_of
from app.faults import OURS, Fault, first_fault
from app.wording import offered


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rank: int = Field(ge=1, le=9)
    name: str = Field("", max_length=3)


def _even(number: int) -> int:
    if number % 2:
        raise PydanticCustomError(f"{OURS}out_of_range", "expected an even number")
    return number


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(1, ge=1, le=9)
    word: Literal["a", "b"] = "a"
    flag: bool = False
    parts: list[int] = Field(default_factory=list, max_length=2)
    rows: int | Literal["auto"] = "auto"
    share: Annotated[float, Field(gt=0, lt=1)] | Literal["inf"] = "inf"
    part: Part | None = None
    key: SecretStr | None = None
    even: Annotated[int, AfterValidator(_even)] = 0


def fault_of(document: object) -> Fault:
    with pytest.raises(ValidationError) as error:
        Document.model_validate(document)
    return first_fault(error.value, schema_of(Document))


COUNT = "expected an integer from 1 to 9"


@pytest.mark.parametrize(
    ("document", "pointer", "code", "told"),
    [
        ({"count": "1"}, "/count", "wrong_type", f"{COUNT}, got '1'"),
        ({"count": True}, "/count", "wrong_type", f"{COUNT}, got true"),
        ({"count": 1.5}, "/count", "wrong_type", f"{COUNT}, got 1.5"),
        ({"count": 0}, "/count", "out_of_range", f"{COUNT}, got 0"),
        ({"count": 10}, "/count", "out_of_range", f"{COUNT}, got 10"),
        ({"word": "c"}, "/word", "out_of_range", "expected 'a' or 'b', got 'c'"),
        ({"flag": 1}, "/flag", "wrong_type", "expected true or false, got 1"),
        ({"parts": [1, "x"]}, "/parts/1", "wrong_type", "expected an integer, got 'x'"),
        (
            {"parts": [1, 2, 3]},
            "/parts",
            "out_of_range",
            "expected an array of at most 2 entries, each an integer, got an array of 3 entries",
        ),
        ({"rows": "x"}, "/rows", "wrong_type", "expected an integer or 'auto', got 'x'"),
        (
            {"share": 0},
            "/share",
            "out_of_range",
            "expected a number above 0 and below 1 or 'inf', got 0",
        ),
        ({"part": 3}, "/part", "wrong_type", "expected an object with rank or null, got 3"),
        (
            {"part": {}},
            "/part/rank",
            "missing_field",
            "expected rank, an integer from 1 to 9, got none; add it",
        ),
        (
            {"part": {"rank": 1, "name": "abcd"}},
            "/part/name",
            "out_of_range",
            "expected a string of at most 3 characters, got 'abcd'",
        ),
        (
            {"part": {"rnk": 1}},  # misspelt, and so missing under its name
            "/part/rnk",
            "unknown_field",
            "there is no such field; expected one of: rank, name",
        ),
        (
            {"flags": 1},
            "/flags",
            "unknown_field",
            "there is no such field; expected one of: "
            "flag, parts, rows, part, share, count, word, key, even",
        ),
        ([], "/", "wrong_type", "expected an object, got an array of 0 entries"),
    ],
)
def test_a_fault_says_what_was_expected_and_what_came(
    document: object, pointer: str, code: str, told: str
) -> None:
    fault = fault_of(document)
    assert (fault.pointer, fault.code, fault.told) == (pointer, code, told)


@pytest.mark.parametrize("name", ["int", "x]", "a/b~", "\x1b[31m", "é"])
def test_an_unknown_name_stands_in_the_pointer_whatever_it_is(name: str) -> None:
    fault = fault_of({name: 1})
    assert fault.code == "unknown_field"
    assert fault.pointer.isprintable()
    assert len(fault.pointer) > 1


def test_an_over_long_name_is_cut() -> None:
    assert len(fault_of({"x" * 5000: 1}).pointer) == 65


def test_the_sentence_alone_holds_nothing_of_what_came() -> None:
    fault = fault_of({"count": "SECRET"})
    assert (fault.sentence, fault.got) == (COUNT, offered("SECRET"))


def test_what_is_secret_is_never_told() -> None:
    assert fault_of({"key": 12345}).told == "expected a string or null"


def test_a_sentence_of_our_own_is_kept_and_says_what_came() -> None:
    fault = fault_of({"even": 3})
    assert (fault.pointer, fault.code) == ("/even", "out_of_range")
    assert fault.told == "expected an even number, got 3"
