"""The arguments that a config gives a layer, checked before anything is built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import torch

from app.allowed import Interval
from app.config import MAX_WIDTH
from app.errors import ConfigInvalid
from app.faults import missing_argument, unknown_argument
from app.wording import either, offered

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    NoneType: "null",
}
# How a layer is placed is the server's business, and what it starts from is the model's seed.
_NEVER = frozenset({"device", "dtype", "generator", "sample"})


# Of a number or of every number in an array; a tuple holds the allowed values themselves.
Bound: TypeAlias = "range | Interval | tuple[object, ...]"

WIDTHS = range(1, MAX_WIDTH + 1)
SHARES = Interval(0.0, 1.0)
# Added under a root, so that nothing is divided by zero.
EPSILONS = Interval(1e-12, 1.0)

# Of layers over sequences, which are given rows: torch's default is no choice.
BATCH_FIRST: Mapping[str, Any] = {"batch_first": Annotated[bool, (True,)]}

_ANY_INTEGER = range(-MAX_WIDTH, MAX_WIDTH + 1)
_ANY_NUMBER = Interval(-1e9, 1e9)
# A layer that writes over its input would write over the request's bytes.
_EVERYWHERE: dict[str, Bound] = {"inplace": (False,)}


def check_arguments(
    layer: type,
    arguments: Mapping[str, object],
    *,
    pointer: str,
    derived: Mapping[str, object] | None = None,
    bounds: Mapping[str, Bound] | None = None,
    hints: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Check names, JSON types and bounds against the signature of a layer's class.

    Args:
        layer: the class that is about to be called.
        arguments: what the config gives.
        pointer: where the layer stands in the config.
        derived: arguments that follow from the shape of the input; one that is given must agree.
        bounds: of arguments by name, beside those in the signature (`Annotated[int, range(…)]`).
        hints: types of arguments that the class leaves untyped, or types too freely; where the
            class says `**kwargs`, these are all there are.
        without: names in the signature that are not for configs.

    Returns:
        What to call the class with: the given arguments (arrays as tuples) and the derived ones.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    derived = derived or {}
    required, optional = _names(layer, hints or {}, {*without, *_NEVER})
    _check_names(layer.__name__, [*required, *optional], arguments, pointer)
    known = {**_hints(layer), **(hints or {})}
    limits = {**_EVERYWHERE, **(bounds or {})}
    checked = {
        name: _checked(known[name], limits.get(name), value, f"{pointer}/{name}")
        for name, value in arguments.items()
    }
    for name in required:
        if name not in checked and name not in derived:
            wanted = _allowed(known[name], limits.get(name))
            raise missing_argument(layer.__name__, name, wanted, pointer=pointer)
    _check_agreement(checked, derived, pointer)
    return {**checked, **derived}


def check_choice(value: object, allowed: tuple[str, ...], *, pointer: str) -> str:
    """One of a few words.

    Raises:
        ConfigInvalid: it is none of them.
    """
    checked = _checked(str, allowed, value, pointer)
    assert isinstance(checked, str)
    return checked


def check_only(
    needed: Mapping[str, str],
    arguments: Mapping[str, object],
    *,
    layer: str,
    pointer: str,
    optional: Collection[str] = (),
) -> None:
    """Refuse other arguments than those of a layer of ours, which has no torch class.

    Args:
        needed: the arguments that it must be given, each with what it may be, in words.
        arguments: what the config gives.
        layer: its name.
        pointer: where the layer stands in the config.
        optional: the arguments that it may be given.

    Raises:
        ConfigInvalid: one that it does not have, or one that is missing.
    """
    _check_names(layer, [*needed, *optional], arguments, pointer)
    for name, wanted in needed.items():
        if name not in arguments:
            raise missing_argument(layer, name, wanted, pointer=pointer)


def _names(
    layer: type, hints: Mapping[str, Any], without: Collection[str]
) -> tuple[list[str], list[str]]:
    """The arguments of a class that a config must give, and those that it may give."""
    required: list[str] = []
    optional: list[str] = []
    parameters = inspect.signature(layer).parameters
    for name, parameter in parameters.items():
        is_named = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_named and name not in without and not name.startswith("_"):
            (required if parameter.default is parameter.empty else optional).append(name)
    return required, optional + [name for name in hints if name not in parameters]


def _hints(layer: type) -> dict[str, Any]:
    return get_type_hints(inspect.getattr_static(layer, "__init__"), include_extras=True)


def _check_names(
    layer: str, allowed: list[str], arguments: Mapping[str, object], pointer: str
) -> None:
    for name in arguments:
        if name not in allowed:
            raise unknown_argument(layer, name, allowed, pointer=pointer)


def _check_agreement(
    given: Mapping[str, object], derived: Mapping[str, object], pointer: str
) -> None:
    for name, value in derived.items():
        if name in given and _listed(given[name]) != _listed(value):
            raise ConfigInvalid(
                f"expected {name} to be {_listed(value)}, as the shape of its input says, got "
                f"{_listed(given[name])}; leave it out",
                pointer=f"{pointer}/{name}",
            )


def _checked(hint: Any, bound: Bound | None, value: object, pointer: str) -> object:
    wanted = _allowed(hint, bound)
    hint, noted = _without_notes(hint)
    bound = bound if bound is not None else noted
    if not _fits(hint, value):
        raise ConfigInvalid(f"expected {wanted}, got {offered(value)}", pointer=pointer)
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not _is_within(bound, entry):
            raise ConfigInvalid(f"expected {wanted}, got {offered(entry)}", pointer=pointer)
    return tuple(entries) if isinstance(value, list) else value


def _allowed(hint: Any, bound: Bound | None) -> str:
    """What an argument may be, in words."""
    hint, noted = _without_notes(hint)
    return _wanted(hint, bound if bound is not None else noted)


def _without_notes(hint: Any) -> tuple[Any, Bound | None]:
    if get_origin(hint) is Literal:
        return hint, get_args(hint)
    if get_origin(hint) is not Annotated:
        return hint, None
    plain, *notes = get_args(hint)
    return plain, next((note for note in notes if isinstance(note, range | Interval | tuple)), None)


def _fits(hint: Any, value: object) -> bool:
    """Whether a JSON value is of a type; `type`, not `isinstance`: in JSON, true is no integer."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(option, value) for option in get_args(hint))
    if origin is Literal:
        return type(value) is str and value in get_args(hint)
    if origin in (list, tuple):
        return type(value) is list and _are_entries(get_args(hint), value)
    if origin is dict:
        return type(value) is dict
    if hint is torch.Size:
        return type(value) is list and _are_entries((int, ...), value)
    if hint is float:
        return type(value) in (int, float)
    return hint in _KINDS and type(value) is hint


def _are_entries(hints: tuple[Any, ...], values: list[object]) -> bool:
    """Whether an array is like `tuple[int, int]`, or like `tuple[int, ...]` and `list[int]`."""
    if len(hints) == 1 or hints[-1] is Ellipsis:
        return bool(values) and all(_fits(hints[0], value) for value in values)
    return len(values) == len(hints) and all(map(_fits, hints, values))


def _is_within(bound: Bound | None, value: object) -> bool:
    if isinstance(bound, tuple):
        return any(type(value) is type(allowed) and value == allowed for allowed in bound)
    if type(value) is int:
        return value in (bound or _ANY_INTEGER)
    if type(value) is float:
        return math.isfinite(value) and value in (bound or _ANY_NUMBER)
    return True


def _wanted(hint: Any, bound: Bound | None) -> str:
    if isinstance(bound, tuple):
        return either(map(offered, bound))
    described = _described(hint)
    ends: Bound | None = bound
    if bound is None and any("number" in words for words in described):
        ends = _ANY_NUMBER
    elif bound is None and any("integer" in words for words in described):
        ends = _ANY_INTEGER
    if isinstance(ends, range):
        ends = Interval(ends[0], ends[-1])
    return f"{either(described)} {ends or ''}".rstrip()


def _described(hint: Any) -> list[str]:
    """A type in words, each of its options one."""
    if get_origin(hint) in (Union, UnionType):
        return [words for option in get_args(hint) for words in _described(option)]
    if get_origin(hint) is Literal:
        return [offered(option) for option in get_args(hint)]
    if get_origin(hint) in (list, tuple) or hint is torch.Size:
        count = [] if hint is torch.Size else [h for h in get_args(hint) if h is not Ellipsis]
        length = f"{len(count)} " if len(count) > 1 else ""
        others = " and nulls" if any(NoneType in get_args(h) for h in count) else ""
        return [f"an array of {length}integers{others}"]
    kind = get_origin(hint) or hint
    return [_KINDS[kind]] if kind in _KINDS else []


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
