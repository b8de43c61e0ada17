"""GET /v1/models: the names that may be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from app.api.asgi import Scope
from app.api.edge import Edge
from app.api.gate import caller_of
from app.api.openai.names import find_name, not_found
from app.api.openai.schemas import OpenAIModel, OpenAIModelList
from app.errors import NotFound, Unavailable
from app.types import VersionDescription


async def list_names(edge: Edge, scope: Scope) -> OpenAIModelList:
    """Every model under its own name, then each of its retained versions."""
    caller, found = caller_of(scope), []
    for summary in edge.service.summaries():
        if caller.sees(summary.model):
            with suppress(NotFound, Unavailable):  # it went meanwhile
                found += await _named(edge, summary.model)
    return OpenAIModelList(data=found)


async def describe_name(edge: Edge, scope: Scope, text: str) -> OpenAIModel:
    """One of these names.

    Raises:
        NotFound: there is none of that name, or its version is not retained.
    """
    name = find_name(edge, scope, text)
    whole, *versions = await _named(edge, name.model)
    if not isinstance(name.version, int):
        return whole.model_copy(update={"id": text})
    for version in versions:
        if version.version == name.version:
            return version.model_copy(update={"id": text})
    raise not_found()


async def _named(edge: Edge, model: str) -> list[OpenAIModel]:
    """The name that means whatever version is served, then the retained versions."""
    live = edge.service.live(model)
    versions = await edge.service.versions(model)
    sizes = {"input_size": live.snapshot.input_size, "n_components": live.snapshot.n_components}
    served = live.served.stamp.version
    return [
        OpenAIModel(id=model, created=_created(versions, served), version=served, **sizes),
        *(
            OpenAIModel(
                id=f"{model}@{version.version}",
                created=_created([version], version.version),
                version=version.version,
                **sizes,
            )
            for version in versions
        ),
    ]


def _created(versions: Iterable[VersionDescription], version: int) -> int:
    """When that version was written, in Unix seconds; of the newest before it where it was not."""
    written = [known.created for known in versions if known.version <= version and known.created]
    return int(datetime.fromisoformat(written[-1]).timestamp()) if written else 0
