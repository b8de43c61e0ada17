"""The state digest of a learner, after each of its changes."""

from __future__ import annotations

from app.codecs import digest, joined_digest
from app.training.learner import Learner
from app.training.optimizer_state import optimizer_tensors
from app.training.state import layer_tensors, live_scalars
from app.training.tensors import to_arrays


def state_digest_now(learner: Learner, layer: str | None) -> str:
    """The digest of the state; see Note [Parts of a state] in `app.codecs.digest`.

    Args:
        learner: whose state is digested.
        layer: the digest of the layer's tensors, when it is known.
    """
    kept = optimizer_tensors(learner.layer, learner.optimizer)
    digests = {
        "layer": layer or digest(to_arrays(layer_tensors(learner.layer))),
        "optimizer": digest(to_arrays(kept)) if kept else "",
        **{memory.part: memory.digest() for memory in learner.memories},
    }
    known = {part: found for part, found in digests.items() if found}
    counters = {"version": learner.version, "step": learner.step}
    return joined_digest(known, live_scalars(learner), **counters)
