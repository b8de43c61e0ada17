"""The state digest of a learner, after each of its changes."""

from __future__ import annotations

from app.codecs import digest, joined_digest
from app.training.batch import TensorBatch
from app.training.learner import Learner
from app.training.state import live_parts, live_scalars, to_arrays


class StateDigests:
    """Digests one learner again and again; what cannot have changed is not read again.

    Args:
        learner: whose state is digested.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._rows: TensorBatch | None = None
        self._guards = ""

    def now(self, layer: str | None) -> str:
        """The digest of the state; see Note [Parts of a state] in `app.codecs.digest`.

        Args:
            layer: the digest of the layer's tensors, when it is known.
        """
        learner = self._learner
        parts = live_parts(learner)
        rows = learner.guards.state.canary.rows
        known = {"layer": layer, "guards": self._guards if rows is self._rows else None}
        digests = {
            part: known.get(part) or digest(to_arrays(tensors))
            for part, tensors in parts.items()
            if tensors
        }
        # A batch never changes, so one and the same has the digest that it had.
        self._rows, self._guards = rows, digests.get("guards", "")
        counters = {"version": learner.version, "step": learner.step}
        return joined_digest(digests, live_scalars(learner), **counters)
