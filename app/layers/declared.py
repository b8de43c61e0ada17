"""A registered thing by its short name, or as an object with its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from app.config import Arguments, parse_arguments
from app.errors import ConfigInvalid
from app.registry import Registry
from app.wording import offered

A = TypeVar("A", bound=Arguments)


def declared(registry: Registry[type[A]], value: object, *, pointer: str) -> A:
    """The member that a config names: `"qr"`, or `{"type": "sparse", "density": 0.1}`.

    Raises:
        ConfigInvalid: neither form, an unknown name, or a bad argument.
    """
    document = {"type": value} if isinstance(value, str) else value
    if not isinstance(document, Mapping) or not isinstance(document.get("type"), str):
        raise ConfigInvalid(
            f'expected the name of one {registry.kind}, or an object with it as "type" and its '
            f"arguments beside, got {offered(value)}; there are: {', '.join(registry)}",
            pointer=pointer,
        )
    # A short name is itself the fault; in an object the fault stands under "type".
    place = pointer if isinstance(value, str) else f"{pointer}/type"
    member = registry.choose(document["type"], pointer=place)
    arguments = {name: given for name, given in document.items() if name != "type"}
    return parse_arguments(member, arguments, pointer=pointer)
