"""Names of models in OpenAI's protocol: `[<upstream model>+]<model>[@<version>|@live]`.

What an answer calls its model names one space: vectors are comparable when the names are equal. It
may be sent back as the model of a request, which then gets vectors of that space or a refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from app.api.asgi import Scope
from app.api.edge import Edge
from app.api.gate import caller_of
from app.errors import NotFound, Unacceptable
from app.types import Stamp

_NAME = re.compile(
    r"(?:(?P<upstream>.{1,256})\+)?(?P<model>[a-z0-9._-]{1,64})(?:@(?P<version>live|[1-9]\d{0,17}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What the name of a model asks for.

    Attributes:
        model: one of ours.
        version: a retained version, or "live"; without one, whatever is served.
        upstream: the only model of the upstream whose embeddings are wanted; texts only.
    """

    model: str
    version: int | Literal["live"] | None = None
    upstream: str | None = None


def find_name(edge: Edge, scope: Scope, text: str | None) -> Name:
    """The model that a request names; the default one when it names the upstream's, or none.

    Raises:
        NotFound: `model_not_found`: there is none of that name, or not for this caller.
        Unavailable: it is still loading, or damaged.
    """
    meant = [] if text is None else [_parsed(text)]
    if text in (None, edge.settings.upstream_model):
        meant.append(Name(model=edge.settings.default_model))
    for name in meant:
        if name is not None and _is_there(edge, scope, name.model):
            return name
    raise not_found()


def written(stamp: Stamp, upstream: str | None = None) -> str:
    """What an answer calls the model that made it."""
    name = f"{stamp.model}@{stamp.version}"
    return name if upstream is None else f"{upstream}+{name}"


def not_found() -> NotFound:
    """The refusal of a name that no model has."""
    return NotFound(
        "model_not_found",
        "there is no model of that name; GET /v1/models lists those that are here",
        pointer="/model",
    )


def _is_there(edge: Edge, scope: Scope, model: str) -> bool:
    """Whether there is such a model for whoever asks."""
    if not caller_of(scope).sees(model):
        return False
    try:
        edge.service.live(model)
    except (NotFound, Unacceptable):
        return False
    return True


def _parsed(text: str) -> Name | None:
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    number = match["version"]
    version: int | Literal["live"] | None = None
    if number is not None:
        version = "live" if number == "live" else int(number)
    return Name(model=match["model"], version=version, upstream=match["upstream"])
