"""Who asks: the scope of what they may do, and the models that they may do it to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import translate

ALL_MODELS = "*"


class KeyScope(IntEnum):
    """What an API key is for; each scope includes the ones before it."""

    READ = 1
    TRAIN = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """How files, messages and the command line write it."""
        return self.name.lower()


SCOPE_WORDS = {scope.word: scope for scope in KeyScope}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request.

    Attributes:
        id: of the API key; empty where there is none.
        scope: the highest one; none for a caller who may ask nothing.
        models: globs over the names of the models that there are for this caller.
    """

    id: str
    scope: KeyScope | None
    models: tuple[str, ...]
    _names: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = "|".join(map(translate, self.models)) or r"(?!)"
        object.__setattr__(self, "_names", re.compile(pattern))

    @property
    def sees_all(self) -> bool:
        """Whether every model is there for this caller."""
        return ALL_MODELS in self.models

    def may(self, needed: KeyScope) -> bool:
        """Whether the scope is enough."""
        return self.scope is not None and self.scope >= needed

    def sees(self, model: str) -> bool:
        """Whether the model is there for this caller."""
        return self.sees_all or self._names.match(model) is not None


# Where no keys are asked for: everybody may everything.
ANYONE = Caller("", KeyScope.ADMIN, (ALL_MODELS,))
# Where keys are asked for, and this one, on a route that is open, brought none.
NOBODY = Caller("", None, ())
