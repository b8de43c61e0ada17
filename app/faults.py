"""What pydantic found, in our words: the field, a code and a sentence without the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import pointer_token

# Templates over the limits that pydantic reports; what is not here is "not acceptable".
_SENTENCES = {
    "missing": "this field is missing",
    "extra_forbidden": "there is no such field",
    "int_type": "expected an integer",
    "int_parsing": "expected an integer",
    "int_from_float": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected a string",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "model_type": "expected an object",
    "dict_type": "expected an object",
    "literal_error": "expected {expected}",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "too_short": "expected at least {min_length} items",
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
}
# A `PydanticCustomError` whose message is ours already: this prefix, then our code.
OURS = "slimvec_"
# What pydantic adds to the path of a number that may be a word instead.
_NUMBERS = frozenset({"int", "float", "constrained-int", "constrained-float"})
_CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with a document.

    Attributes:
        pointer: JSON pointer to the field.
        code: `missing_field`, `unknown_field`, `wrong_type` or `out_of_range`.
        sentence: what was expected.
    """

    pointer: str
    code: str
    sentence: str


def first_fault(error: ValidationError) -> Fault:
    """The first fault that a validation found."""
    found, *others = error.errors(include_input=False, include_url=False)
    kind: str = found["type"]
    # Where a value may be of several types, pydantic adds the type's name as a step of its own.
    path = [part for part in found["loc"] if not str(part).endswith("]")]
    word = _word_instead(found, others)
    if word:
        path.pop()
    pointer = "".join(f"/{pointer_token(part)}" for part in path)
    is_type = kind.endswith(("_type", "_parsing", "_from_float"))
    code = _CODES.get(kind, "wrong_type" if is_type else "out_of_range")
    if kind.startswith(OURS):
        return Fault(pointer, kind.removeprefix(OURS), found["msg"])
    sentence = _SENTENCES.get(kind, "this value is not acceptable").format(**found.get("ctx", {}))
    if word:
        sentence += f", or {word}"
    return Fault(pointer or "/", code, sentence)


def _word_instead(number: ErrorDetails, others: Sequence[ErrorDetails]) -> str | None:
    """What may stand where a number was expected, such as `'auto'`: the next fault says so."""
    if not others or not number["loc"] or number["loc"][-1] not in _NUMBERS:
        return None
    word = others[0]
    is_for_it = word["type"] == "literal_error" and word["loc"][:-1] == number["loc"][:-1]
    return str(word["ctx"]["expected"]) if is_for_it else None
