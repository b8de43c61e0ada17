"""Arguments of torch's optimizers and schedulers, checked against their own signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from app.allowed import Interval
from app.errors import ConfigInvalid, pointer_token
from app.faults import missing_argument, unknown_argument
from app.training.numbers import is_number
from app.wording import either, offered

Arguments: TypeAlias = dict[str, Any]
# What a number may be, or every number of a list; of a list also one for each entry. Of a word,
# the words that there are.
Bound: TypeAlias = Interval | tuple[Interval, ...] | tuple[str, ...]
Bounds: TypeAlias = Mapping[str, Bound]

# A list is one number for each parameter group, or the milestones of a schedule.
_MOST_ENTRIES = 1000
# Where torch names no range: what float32 holds.
MAX_NUMBER = 3.4e38
_ANY_NUMBER = Interval(-MAX_NUMBER, MAX_NUMBER)
# Of a larger integer torch fails to make a number of its own.
_MOST_INTEGER = 2**53
_LISTS = (tuple, list, Iterable)
_ORDINALS = ("first", "second", "third")
_WORDS: Mapping[Any, str] = {float: "number", int: "integer", bool: "true or false", str: "string"}


def check_arguments(
    member: type,
    arguments: Mapping[str, Any],
    *,
    pointer: str,
    without: Collection[str] = (),
    bounds: Bounds | None = None,
    floats: Collection[str] = (),
) -> Arguments:
    """The arguments with JSON lists as tuples; refuses names and values that are not torch's.

    Args:
        member: the class that is about to be called.
        arguments: what the config gives.
        pointer: where the member stands in the config.
        without: names in the signature that are not for configs.
        bounds: of arguments, as torch has them, or where it has none or says it too late.
        floats: names of arguments of which torch refuses 0 and 1, and takes 0.0 and 1.0.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    allowed = _hints(member, without)
    bounds = bounds or {}
    for name, value in arguments.items():
        if name not in allowed:
            raise unknown_argument(member.__name__, name, allowed, pointer=pointer)
        misfit = _misfit(value, allowed[name], bounds.get(name))
        if misfit is not None:
            place, got = misfit
            raise ConfigInvalid(
                f"expected {name} of {member.__name__} to be "
                f"{_in_words(allowed[name], bounds.get(name))}, got {offered(got)}",
                pointer=f"{pointer}/{pointer_token(name)}{place}",
            )
    _check_complete(member, allowed, arguments, bounds, pointer)
    return {
        name: _as_torch_takes_it(value, is_float=name in floats)
        for name, value in arguments.items()
    }


def _as_torch_takes_it(value: Any, *, is_float: bool) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_torch_takes_it(entry, is_float=is_float) for entry in value)
    is_large = type(value) is int and abs(value) > _MOST_INTEGER
    return float(value) if is_float or is_large else value


def _hints(member: type, without: Collection[str]) -> Mapping[str, Any]:
    # torch imports these names for type checkers only.
    names = {"Iterable": Iterable, "Callable": Callable}
    found = get_type_hints(inspect.getattr_static(member, "__init__"), localns=names)
    return {name: hint for name, hint in found.items() if name not in {*without, "return"}}


def _check_complete(
    member: type,
    allowed: Mapping[str, Any],
    arguments: Mapping[str, Any],
    bounds: Bounds,
    pointer: str,
) -> None:
    for name, parameter in inspect.signature(member).parameters.items():
        if name in allowed and name not in arguments and parameter.default is parameter.empty:
            wanted = _in_words(allowed[name], bounds.get(name))
            raise missing_argument(member.__name__, name, wanted, pointer=pointer)


def _misfit(value: object, hint: Any, bound: Bound | None) -> tuple[str, object] | None:
    """Where a value is not what it must be, from the argument, and what stands there."""
    if not isinstance(value, list | tuple):
        fits = _fits(value, hint) and _is_within(value, bound)
        return None if fits else ("", value)
    hints = _entry_hints(hint, len(value))
    if hints is None or len(value) > _MOST_ENTRIES:
        return "", value
    for place, (entry, kind) in enumerate(zip(value, hints, strict=True)):
        own = bound[place] if isinstance(bound, tuple) and len(bound) == len(value) else bound
        if not (_fits(entry, kind) and _is_within(entry, own)):
            return f"/{place}", entry
    return None


def _entry_hints(hint: Any, count: int) -> tuple[Any, ...] | None:
    """The types of so many entries; None where the argument is no list, or one of others."""
    for choice in _choices(hint):
        origin, parts = get_origin(choice), get_args(choice)
        if origin in _LISTS and (origin is not tuple or len(parts) == count):
            return parts if origin is tuple else parts * count
    return None


def _choices(hint: Any) -> tuple[Any, ...]:
    is_one = get_origin(hint) in (*_LISTS, Literal) or not get_args(hint)
    return (hint,) if is_one else get_args(hint)


def _fits(value: object, hint: Any) -> bool:
    """Whether a single value is of a type hint: numbers must be finite, and a bool is none."""
    for choice in _choices(hint):
        if get_origin(choice) is Literal and isinstance(value, str) and value in get_args(choice):
            return True
        if is_number(value) if choice is float else type(value) is choice:
            return True
    return False


def _is_within(value: object, bound: Bound | str | None) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if bound is None:
        return isinstance(value, str) or value in _ANY_NUMBER
    return value in bound


def _in_words(hint: Any, bound: Bound | None) -> str:
    return either(
        words for choice in _choices(hint) if (words := _choice_in_words(choice, bound)) is not None
    )


def _choice_in_words(choice: Any, bound: Bound | None) -> str | None:
    origin, parts = get_origin(choice), get_args(choice)
    if origin is Literal:
        return either(map(offered, parts))
    if origin in _LISTS:
        return _list_in_words(origin, parts, bound)
    if choice is NoneType:
        return "null"
    if choice is str and isinstance(bound, tuple):
        return either(map(offered, bound))
    if choice not in _WORDS:  # a tensor, a function: not for JSON
        return None
    if choice is bool:
        return _WORDS[bool]
    ends = bound or ("" if choice is str else _ANY_NUMBER)
    return f"{'an' if choice is int else 'a'} {_WORDS[choice]} {ends}".rstrip()


def _list_in_words(origin: Any, parts: tuple[Any, ...], bound: Bound | None) -> str:
    count = f"{len(parts)} " if origin is tuple else ""
    kinds = "integers" if parts[0] is int else "numbers"
    if isinstance(bound, tuple):
        ranges = ", ".join(f"the {n} {one}" for n, one in zip(_ORDINALS, bound, strict=False))
    else:
        ranges = f"each {bound or _ANY_NUMBER}"
    return f"an array of {count}{kinds}, {ranges}"
