"""Arguments of torch's optimizers and schedulers, checked against their own signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from app.config import MAX_LEARNING_RATE
from app.errors import ConfigInvalid, pointer_token
from app.training.numbers import is_learning_rate, is_number

Arguments: TypeAlias = dict[str, Any]
# The least and the most that a number may be, or the numbers of a list.
Bounds: TypeAlias = Mapping[str, tuple[float, float]]

# A list is one number for each parameter group, or the milestones of a schedule.
_MOST_ENTRIES = 1000
_LISTS = (tuple, list, Iterable)


def check_arguments(
    member: type,
    arguments: Mapping[str, Any],
    *,
    pointer: str,
    without: Collection[str] = (),
    bounds: Bounds | None = None,
) -> Arguments:
    """The arguments with JSON lists as tuples; refuses names and values that are not torch's.

    Args:
        member: the class that is about to be called.
        arguments: what the config gives.
        pointer: where the member stands in the config.
        without: names in the signature that are not for configs.
        bounds: of arguments that torch does not bound, or only when it is too late.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    allowed = _hints(member, without)
    for name, value in arguments.items():
        _check_one(member, allowed, name, value, (bounds or {}).get(name), pointer)
    _check_complete(member, allowed, arguments, pointer)
    return {n: tuple(v) if isinstance(v, list) else v for n, v in arguments.items()}


def _hints(member: type, without: Collection[str]) -> Mapping[str, Any]:
    # torch imports these names for type checkers only.
    names = {"Iterable": Iterable, "Callable": Callable}
    found = get_type_hints(inspect.getattr_static(member, "__init__"), localns=names)
    return {name: hint for name, hint in found.items() if name not in {*without, "return"}}


def _check_one(
    member: type,
    allowed: Mapping[str, Any],
    name: str,
    value: object,
    bounds: tuple[float, float] | None,
    pointer: str,
) -> None:
    at = f"{pointer}/{pointer_token(name)}"
    if name not in allowed:
        raise ConfigInvalid(
            f"{member.__name__} has no argument {name[:64]!r} here; "
            f"expected one of: {', '.join(sorted(allowed))}",
            pointer=at,
        )
    if not _fits(value, allowed[name]):
        raise ConfigInvalid(
            f"{member.__name__} expects {_in_words(allowed[name])} for {name}", pointer=at
        )
    if name == "lr" and not is_learning_rate(value):  # type: ignore[arg-type]  # a number: it fits
        raise ConfigInvalid(
            f"expected a learning rate above 0 and of at most {MAX_LEARNING_RATE:g}", pointer=at
        )
    if bounds is not None and not _is_within(value, *bounds):
        least, most = bounds
        raise ConfigInvalid(
            f"{member.__name__} expects {name} from {least:g} to {most:g}", pointer=at
        )


def _check_complete(
    member: type, allowed: Mapping[str, Any], arguments: Mapping[str, Any], pointer: str
) -> None:
    for name, parameter in inspect.signature(member).parameters.items():
        if name in allowed and name not in arguments and parameter.default is parameter.empty:
            raise ConfigInvalid(
                f"expected {name} for {member.__name__}, got none; add it",
                pointer=f"{pointer}/{name}",
            )


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value is of a type hint; numbers must be finite, and a bool is no number."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin in _LISTS:
        if not isinstance(value, list | tuple) or len(value) > _MOST_ENTRIES:
            return False
        hints = parts if origin is tuple else parts * len(value)
        return len(value) == len(hints) and all(map(_fits, value, hints))
    if parts:
        return any(_fits(value, choice) for choice in parts)
    if hint is float:
        return is_number(value)
    return type(value) is hint


def _is_within(value: Any, least: float, most: float) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return all(entry is None or least <= entry <= most for entry in values)


def _in_words(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin is tuple:
        return f"a list of {len(parts)} numbers"
    if origin in _LISTS:
        return "a list of numbers"
    words = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a name"}
    choices = [part for part in parts or [hint] if part in words or get_origin(part)]
    return " or ".join(words[part] if part in words else _in_words(part) for part in choices)
