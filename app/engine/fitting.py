"""A fit on its way: the pass over the data, and what it is answered."""

from __future__ import annotations

from dataclasses import asdict

from app.training.changes import FitOutcome
from app.training.fits import Accumulator
from app.types import ControlAnswer, FitAnswer

__all__ = ["Accumulator", "FitOutcome", "fit_answer"]


def fit_answer(answer: ControlAnswer, outcome: FitOutcome) -> FitAnswer:
    """The answer to a fit: where the trainer stands, and what the weights were made from."""
    return FitAnswer(
        **asdict(answer),
        rows=outcome.rows,
        rows_advised=outcome.rows_advised,
        explained_variance=outcome.explained_variance,
        warning=outcome.warning,
    )
