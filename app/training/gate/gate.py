"""The gate itself: when it looks, what it decides, what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from app.config import ModelConfig
from app.layers import folded
from app.training.gate.examiner import FEWEST, NO_FIGURES, Examiner
from app.training.gate.record import from_record, passed_tensors, to_scalars
from app.training.gate.state import Figure, GateState, Judgement, Weights
from app.training.learner import Learner
from app.training.memory import KnownDigest
from app.training.observed import Observed
from app.training.stored import StoredArrays
from app.types import (
    ChangeRequest,
    Fit,
    GateDescription,
    GateFigure,
    Json,
    Judge,
    Replace,
    Rollback,
    Serve,
    TrainStep,
)

# Queries of a look, and of one whose findings may be chance. Measured at 2,000 rows and a reservoir
# of 4,096, of 384 numbers: see docs/models.md.
_FEW, _MANY = 512, 2048


class Gate:
    """Holds `live` back while the newest version is worse on held-out vectors.

    A look holds the newest version against the last one that passed, both by the vectors that are
    held out now, among all that is remembered. Where `Judgement.faults` finds it worse, the gate
    closes, and `live` stays at the one that passed. Otherwise the newest passed and the gate is
    open: `live` follows every version until the next look.

    A `Memory` of the learner.

    Args:
        config: how often to look, and how much worse a version may be.
        observed: has what is held out.
        form: tensors of the names, dtypes and shapes that serving has.
        device: where the layer is.

    Attributes:
        state: what is remembered.
    """

    part: ClassVar[str] = "gate"

    def __init__(
        self,
        config: ModelConfig,
        observed: Observed,
        form: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        self.state = GateState()
        self._every = config.gate.every
        self._bound = config.gate.bound
        self._pair_weight = config.distil.pair_weight
        self._observed = observed
        self._form = form
        self._config = config
        self._device = device
        self._digest = KnownDigest()

    @property
    def held_back(self) -> Weights | None:
        """What `live` stays at; None while it may follow the newest version."""
        return None if self.state.is_open else self.state.passed

    def follow(self, learner: Learner, request: ChangeRequest) -> None:
        """Do what an accepted change asks of the gate."""
        match request:
            case TrainStep():
                self.state = replace(self.state, steps=self.state.steps + 1)
                if self.state.steps >= self._every:
                    self._look(learner)
            case Judge():
                self._look(learner)
            case Rollback() | Replace() | Fit() | Serve(version="live"):
                # An operator chose the newest version: it passed, whatever its figures are.
                self.state = GateState(passed=_weights(learner))

    def describe(self) -> GateDescription:
        """The gate for people."""
        state, looked = self.state, self.state.judgement
        nn10, mrr = (looked.nn10, looked.mrr) if looked else (None, None)
        return GateDescription(
            is_open=state.is_open,
            passed=None if state.passed is None else state.passed.version,
            judged=None if looked is None else looked.version,
            rows=looked.rows if looked else 0,
            nn10=None if nn10 is None else GateFigure(**nn10.model_dump()),
            mrr=None if mrr is None else GateFigure(**mrr.model_dump()),
            reason=self._reason(),
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`."""
        return passed_tensors(self.state)

    def digest(self) -> str:
        """See `Memory.digest`."""
        return self._digest.of(self.tensors())

    def scalars(self) -> Json | None:
        """See `Memory.scalars`."""
        return to_scalars(self.state)

    def read(self, stored: StoredArrays, scalars: Json | None) -> GateState:
        """See `Memory.read`; a record without a gate is from before the first step."""
        return from_record(stored, scalars, self._form, self._device)

    def forget(self) -> None:
        """Begin again, as for a new model."""
        self.state = GateState()

    def _look(self, learner: Learner) -> None:
        """Hold the newest version against the last that passed; nothing if that was done."""
        before = self.state
        if before.judgement is not None and before.judgement.version == learner.version:
            return
        newest = _weights(learner)
        judgement = self._judged(newest, before.passed)
        if self._faults(judgement):
            self.state = GateState(False, before.passed, judgement)
        else:
            self.state = GateState(True, newest, judgement)

    def _judged(self, newest: Weights, passed: Weights | None) -> Judgement:
        """The newest version by some queries, and by more of them where those leave a doubt."""
        judgement = Judgement(version=newest.version, rows=self._observed.state.held_out.count)
        for queries in (_FEW, _MANY):
            examiner = Examiner(self._config, self._observed.state, self._device, queries=queries)
            found = examiner.figures(newest.tensors)
            usual = NO_FIGURES if passed is None else examiner.figures(passed.tensors)
            nn10 = None if found.nn10 is None else Figure.of(found.nn10, usual.nn10)
            mrr = None if found.mrr is None else Figure.of(found.mrr, usual.mrr)
            judgement = judgement.model_copy(update={"nn10": nn10, "mrr": mrr})
            if examiner.asks_all or not judgement.is_doubtful(self._bound):
                break
        return judgement

    def _faults(self, judgement: Judgement) -> list[str]:
        return judgement.faults(self._bound, self._pair_weight)

    def _reason(self) -> str:
        judgement, passed = self.state.judgement, self.state.passed
        if judgement is None:
            return "nothing was judged since the model began, or an operator chose its weights"
        if judgement.nn10 is None:
            held = f"{judgement.rows} vectors are held out"
            return f"{held}, and at least {FEWEST} are needed to judge"
        if passed is not None and not self.state.is_open:
            faults = " and ".join(self._faults(judgement))
            return f"version {judgement.version} is worse than version {passed.version}: {faults}"
        return f"version {judgement.version} passed"


def _weights(learner: Learner) -> Weights:
    return Weights(learner.version, learner.step, folded(learner.layer))
