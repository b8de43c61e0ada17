"""Residence: which models of the repository are in memory, changed while the server runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.codecs import digest, short_digest
from app.config import ModelConfig
from app.engine import LiveModel
from app.errors import Conflict
from app.exchange import from_tensors
from app.names import check_model_name
from app.service.checkpoints import Checkpoints
from app.types import NamedArrays

if TYPE_CHECKING:
    from app.service.service import Service


class Residence:
    """Takes models into memory and out of it; what is on disk stays.

    Both verbs may come twice for one call (clients send again what a closed connection may have
    lost), and at once: the second one finds nothing left to do.

    Args:
        service: finds models, and says whether changes are accepted.
        checkpoints: write the last one.
    """

    def __init__(self, service: Service, checkpoints: Checkpoints) -> None:
        self._service = service
        self._checkpoints = checkpoints

    async def unload(self, model: str) -> None:
        """Take a model out of memory, after a last checkpoint; until the next start, or `load`.

        Changes that were accepted are finished first; should any come after the checkpoint, the
        journal has them.

        Raises:
            NotFound: no such model.
            StorageFull, Unavailable: the checkpoint could not be written; the model stays.
        """
        service = self._service
        service.life.check_accepting()
        async with self._checkpoints.paused(model):  # as a delete does: no folder comes back
            if check_model_name(model) in service.models.absent:
                return
            live = service.live(model)
            if not live.training_stopped:
                await self._checkpoints.write_paused(live)
            await asyncio.to_thread(service.models.unload, model)

    async def load(self, model: str) -> None:
        """Bring a model of the repository to life; nothing to do where it is.

        Raises:
            NotFound: no such model.
            Unavailable: `model_not_loaded`: its folder is damaged; the message says how.
        """
        self._service.life.check_accepting()
        await asyncio.to_thread(self._service.models.load, model)

    async def install(
        self, model: str, config: ModelConfig, tensors: NamedArrays | None = None
    ) -> None:
        """Create a model from its config and perhaps weights; or give one that is there new ones.

        New weights are a new version, with a fresh optimizer. Those that are served already
        make none.

        Raises:
            Conflict: it is there with another config, which is never replaced.
            ArtifactInvalid: the weights are no layer, or not one of that config.
        """
        service = self._service
        service.life.check_accepting()
        layer = None if tensors is None else await asyncio.to_thread(from_tensors, tensors)
        weights = None if layer is None else layer.tensors
        sent = None if weights is None else await asyncio.to_thread(digest, weights)
        # Compared and replaced by one call at a time: the same weights are news to the first only.
        async with self._checkpoints.paused(model):
            live = await asyncio.to_thread(service.models.install, model, config, weights)
            _check_config(live, config)
            if tensors is not None and sent is not None and not _is_serving(live, sent):
                await service.controls.replace(model, tensors)


def _check_config(live: LiveModel, config: ModelConfig) -> None:
    if live.config != config:
        raise Conflict(
            "model_exists",
            f"model {live.name!r} is there with another config, which is never replaced; "
            "leave the config as it is, or choose another name",
        )


def _is_serving(live: LiveModel, weights_digest: str) -> bool:
    return live.snapshot.stamp.digest == short_digest(weights_digest)
