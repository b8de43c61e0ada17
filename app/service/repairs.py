"""Repairs: a damaged model goes on from its last good state."""

from __future__ import annotations

from app.errors import NotFound
from app.names import check_model_name
from app.service.history import Moment
from app.service.recovery import Recovered, Recovery
from app.service.version_files import to_files
from app.types import Store


class Repairs:
    """Looks at models on disk that could not be loaded, and mends them; none of them is live.

    Args:
        store: the model repository.
        recovery: brings models back as they were.
    """

    def __init__(self, store: Store, recovery: Recovery) -> None:
        self._store = store
        self._recovery = recovery

    def examine(self, name: str) -> Recovered:
        """How far a model can be had, and what is wrong beyond; changes and starts nothing.

        Raises:
            NotFound: no such model.
            ArtifactInvalid: no version can be read.
        """
        if check_model_name(name) not in self._store.models():
            raise NotFound("model_not_found", f"there is no model {name!r}")
        return self._recovery.last_good(name)

    def repair(self, name: str) -> Recovered:
        """Go back to the last good state as a new version; what is damaged is set aside.

        Nothing is changed when nothing is wrong; see `examine`.
        """
        recovered = self.examine(name)
        if recovered.is_damaged:
            moment = Moment(
                position=recovered.position,
                clock_s=recovered.clock_s,
                serving=recovered.live.serving,
                keys=recovered.keys.dump(),
            )
            taken, _ = recovered.live.prepared(lambda _: None)
            checkpoint = taken.checkpoint
            files = to_files(checkpoint, "checkpoint", moment)
            # The new version first: without it, its predecessor alone would look whole.
            self._store.write(name, checkpoint.version, files)
            self._store.set_aside(name, versions=recovered.damaged, journal=True)
        return recovered
