"""A registry: the named members of one kind (losses, codecs, …), the same for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from app.errors import ConfigInvalid
from app.wording import nearest, offered

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Members of one kind by name, in alphabetical order.

    Args:
        kind: what a member is, in words; used in messages ("loss", "optimizer").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a member under `name`; a name is given once."""

        def add(member: T) -> T:
            assert name not in self._members, f"{self.kind} {name!r} is registered twice"
            self._members[name] = member
            return member

        return add

    def choose(self, name: str, *, pointer: str) -> T:
        """The member called `name`.

        Raises:
            ConfigInvalid: unknown name; the message gives the offered and the allowed ones.
        """
        if name not in self._members:
            allowed = ", ".join(nearest(self, name))
            raise ConfigInvalid(
                f"unknown {self.kind} {offered(name)}; expected one of: {allowed}", pointer=pointer
            )
        return self._members[name]

    def __getitem__(self, name: str) -> T:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def __len__(self) -> int:
        return len(self._members)


def import_members(package: str, path: list[str]) -> None:
    """Import every module of a package, so that adding a member touches one file."""
    for module in iter_modules(path):
        import_module(f"{package}.{module.name}")
