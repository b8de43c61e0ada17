"""Service: the verbs and their order: validate → compute → commit → publish → answer.

What is named here needs torch, whose import takes seconds, so it is imported when it is asked for:
`inspection` and `verification` do without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.engine import Admission, Line, Ticket
    from app.service.keys import make_key
    from app.service.life import Phase
    from app.service.reduce_options import NO_OPTIONS, ReduceOptions
    from app.service.service import Service

__all__ = [
    "NO_OPTIONS",
    "Admission",
    "Line",
    "Phase",
    "ReduceOptions",
    "Service",
    "Ticket",
    "make_key",
]

_HOMES = {
    "Admission": "app.engine",
    "Line": "app.engine",
    "NO_OPTIONS": "app.service.reduce_options",
    "Phase": "app.service.life",
    "ReduceOptions": "app.service.reduce_options",
    "Service": "app.service.service",
    "Ticket": "app.engine",
    "make_key": "app.service.keys",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
