"""Texts: another server makes embeddings of them, and a model makes those smaller.

Note [One upstream a model]
What a model learned is about the embeddings of one upstream model; those of another are another
space, and vectors made from them are comparable to nothing that is stored. So what the upstream
called its model when it was first used is kept beside the model's versions, and an answer under
another name is refused until an operator acknowledges that name.
"""

from __future__ import annotations

import asyncio
import logging
from threading import Lock
from typing import TYPE_CHECKING

import orjson

from app.engine import Ticket
from app.errors import ArtifactInvalid, Conflict, SlimvecError, Unimplemented
from app.service.reduce_options import NO_OPTIONS, ReduceOptions
from app.types import Embedded, Embedder, ReducedTexts, Store, TextRequest, UpstreamDescription

if TYPE_CHECKING:
    from app.service.service import Service

log = logging.getLogger("slimvec.texts")

# The ticket's weight makes room also for their base64 and the copies on the way.
_FLOAT32_BYTES = 4


class Texts:
    """The verb of text, and what is known of the upstream.

    Args:
        service: finds models, reduces.
        store: keeps whose embeddings a model reduces.
        embedder: makes embeddings; without one, texts are refused.
        is_writable: whether anything can be stored; otherwise it is known until the end only.
    """

    def __init__(
        self, service: Service, store: Store, embedder: Embedder | None, *, is_writable: bool
    ) -> None:
        self._service = service
        self._store = store
        self._embedder = embedder
        self._is_writable = is_writable
        self._changing = Lock()
        self._unwritten: dict[str, str] = {}

    async def reduce(
        self,
        model: str,
        request: TextRequest,
        options: ReduceOptions = NO_OPTIONS,
        *,
        ticket: Ticket,
        upstream: str | None = None,
    ) -> ReducedTexts:
        """Small vectors of texts, a row for each.

        Args:
            model: its name.
            request: the texts.
            options: version, normalisation, dimensions.
            ticket: admission; it also holds room for the embeddings.
            upstream: refuse embeddings of any other model of the upstream.

        Raises:
            NotFound: unknown model or version.
            Unimplemented: there is no upstream.
            QueueFull: no room here, or none there.
            Conflict: the embeddings are of another model, or of another width, than before.
            SlimvecError: as `Embedder` says.
        """
        live = self._service.live(model)
        if self._embedder is None:
            raise _no_upstream()
        input_size = live.config.input_size
        ticket.cover(len(request.inputs) * input_size * _FLOAT32_BYTES)
        embedded = await self._embedder.embed(request, input_size=input_size)
        _check_width(embedded, input_size, model)
        if upstream not in (None, embedded.model):
            raise _not_the_asked(embedded.model)
        reduced = await self._service.reduce(model, embedded.hidden_states, options, ticket=ticket)
        # The last thing before the answer: what was never answered binds nobody.
        await asyncio.to_thread(self._agree, model, embedded.model)
        return ReducedTexts(reduced, embedded)

    async def describe(self, model: str) -> UpstreamDescription:
        """Whose embeddings a model reduces.

        Raises:
            NotFound: unknown model.
            Conflict: what is kept of it is damaged.
        """
        self._service.live(model)
        return UpstreamDescription(model=await asyncio.to_thread(self._known, model))

    async def acknowledge(self, model: str, upstream: str) -> UpstreamDescription:
        """Let a model reduce the embeddings of that upstream model from now on; durable.

        Raises:
            NotFound: unknown model.
            StorageFull, Unavailable: nothing changed.
        """
        self._service.life.check_accepting()
        self._service.live(model)
        await asyncio.to_thread(self._keep, model, upstream)
        log.info("upstream acknowledged: %s", upstream, extra={"model": model})
        return UpstreamDescription(model=upstream)

    async def close(self) -> None:
        """Close the connections to the upstream."""
        if self._embedder is not None:
            await self._embedder.close()

    def _agree(self, model: str, upstream: str) -> None:
        """Keep the name at its first use; refuse another one afterwards."""
        if self._known(model) is None:
            self._keep_first(model, upstream)
        if (known := self._known(model)) != upstream:
            raise _changed(model, str(known), upstream)

    def _known(self, model: str) -> str | None:
        try:
            content = self._store.read_upstream(model)
        except ArtifactInvalid:
            raise _damaged(model) from None
        return self._unwritten.get(model) if content is None else _parsed(content, model)

    def _keep_first(self, model: str, upstream: str) -> None:
        with self._changing:  # two first uses at once: the second finds what the first kept
            if self._known(model) is not None:
                return
            if self._is_writable:
                self._store.write_upstream(model, _written(upstream))
            else:
                self._unwritten[model] = upstream
        log.info("upstream first used: %s", upstream, extra={"model": model})

    def _keep(self, model: str, upstream: str) -> None:
        with self._changing:
            self._store.write_upstream(model, _written(upstream))


def _written(upstream: str) -> bytes:
    return orjson.dumps({"model": upstream}, option=orjson.OPT_APPEND_NEWLINE)


def _parsed(content: bytes, model: str) -> str:
    try:
        name = orjson.loads(content)["model"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        name = None
    if not isinstance(name, str):
        raise _damaged(model)
    return name


def _check_width(embedded: Embedded, input_size: int, model: str) -> None:
    width = embedded.hidden_states.shape[1]
    if width != input_size:
        raise Conflict(
            "upstream_width",
            f"the upstream's embeddings have {width} numbers, and model {model!r} reduces "
            f"{input_size}; ask for a model that fits, or set another upstream",
        )


def _changed(model: str, known: str, upstream: str) -> SlimvecError:
    return Conflict(
        "upstream_changed",
        f"the upstream answers as {upstream!r}, and the vectors of model {model!r} are made from "
        f"embeddings of {known!r}: the two are not comparable; an operator may acknowledge the "
        f"change with PUT /models/{model}/upstream",
    )


def _not_the_asked(upstream: str) -> SlimvecError:
    return Conflict(
        "upstream_changed",
        f"the upstream answers as {upstream!r}, and the request asks for vectors made from the "
        "embeddings of another model: they would not be comparable",
    )


def _damaged(model: str) -> SlimvecError:
    return Conflict(
        "upstream_changed",
        f"nobody can tell any more whose embeddings model {model!r} reduces: upstream.json is "
        f"damaged; an operator may say it again with PUT /models/{model}/upstream",
    )


def _no_upstream() -> SlimvecError:
    return Unimplemented(
        "upstream_not_set",
        "this server makes vectors smaller, and has no upstream that makes embeddings of text; "
        'send vectors (integers with "input_type": "vector"), or set SLIMVEC_UPSTREAM_URL',
    )
