"""The arguments that a config gives a layer, checked before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from app.errors import ConfigInvalid, pointer_token

# A layer's width comes from the layer before it, the first one's from the config.
_GIVEN = "input_size"
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def check_arguments(layer: type, arguments: Mapping[str, object], *, pointer: str) -> None:
    """Check names, JSON types and bounds against the signature of a layer's class.

    Keyword-only parameters (device, generator, …) are not for configs. An integer may carry its
    bounds: `Annotated[int, range(1, 9)]`.

    Args:
        layer: the class that is about to be called.
        arguments: what the config gives.
        pointer: where the layer stands in the config.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(layer).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != _GIVEN
    }
    _check_names(layer.__name__, list(parameters), arguments, pointer)
    hints = _hints(layer)
    for name, parameter in parameters.items():
        if name in arguments:
            _check_value(hints[name], arguments[name], f"{pointer}/{name}")
        elif parameter.default is parameter.empty:
            raise ConfigInvalid(
                f"expected {name} for {layer.__name__}, got none; add it",
                pointer=f"{pointer}/{name}",
            )


def _hints(layer: type) -> dict[str, Any]:
    return get_type_hints(inspect.getattr_static(layer, "__init__"), include_extras=True)


def _check_names(
    layer: str, allowed: list[str], arguments: Mapping[str, object], pointer: str
) -> None:
    for name in arguments:
        if name in allowed:
            continue
        fault = f"{layer} has no argument {name[:64]!r}; expected some of: {', '.join(allowed)}"
        if name == _GIVEN:
            fault = f"expected no {_GIVEN} in a layer: it comes from the config; remove it"
        raise ConfigInvalid(fault, pointer=f"{pointer}/{pointer_token(name)}")


def _check_value(hint: Any, value: object, pointer: str) -> None:
    expected, *notes = get_args(hint) if get_origin(hint) is Annotated else [hint]
    bounds = next((note for note in notes if isinstance(note, range)), None)
    # `type`, not `isinstance`: to Python True is an integer, to JSON it is not.
    if type(value) is expected and (bounds is None or value in bounds):
        return
    wanted = _KINDS[expected]
    if bounds is not None:
        wanted += f" from {bounds[0]} to {bounds[-1]}"
    out_of_bounds = type(value) is expected
    got = "one out of these bounds" if out_of_bounds else _KINDS.get(type(value), "another kind")
    raise ConfigInvalid(f"expected {wanted}, got {got}", pointer=pointer)
