"""Changes that are computed, committed and published together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from app.engine.fitting import fit_answer
from app.engine.jobs import Job
from app.engine.publication import Publication
from app.errors import SlimvecError, Unavailable
from app.training.savepoint import Savepoint
from app.training.trainer import FitOutcome, StepOutcome, Trainer
from app.types import (
    Change,
    ChangeAnswer,
    ControlAnswer,
    GateAnswer,
    Judge,
    Serve,
    Serving,
    StepAnswer,
)


class Group:
    """One group on its way: each change on the private trainer, and what it made.

    Args:
        model: the model's name.
        trainer: changed by `add`; the caller undoes it when the group fails.
        before: taken now; the first change is undone with it when it is refused.
        published: what readers are given now.
        serving: which version unpinned requests get now.
        follow: what they would be given after the trainer's last change.

    Attributes:
        accepted: the jobs that made a change, each with its answer.
        refused: the others, each with its error; told when the group is settled, because it was
            judged by what the group did before it.
        changes: the same, as the journal keeps them.
        published: what readers are given after the last accepted change.
        serving: which version unpinned requests get after it.
    """

    def __init__(
        self,
        model: str,
        trainer: Trainer,
        before: Savepoint,
        published: Publication,
        serving: Serving,
        follow: Callable[[Trainer, Publication], Publication],
    ) -> None:
        self.accepted: list[tuple[Job, ChangeAnswer]] = []
        self.refused: list[tuple[Job, Exception]] = []
        self.changes: list[Change] = []
        self.published = published
        self.serving = serving
        self._model = model
        self._trainer = trainer
        self._before = before
        self._follow = follow

    def add(self, job: Job, *, rejection: SlimvecError | None) -> None:
        """Make one change; a refused one changes nothing.

        Raises:
            Exception: the change was made, and could not be described; the group must be undone.
        """
        if not job.answer.set_running_or_notify_cancel():
            job.break_line()
            return  # the client had gone before its change was begun
        try:
            _check_wanted(job, rejection)
            undo = None if self.changes else self._before
            outcome = self._trainer.apply(job.request, undo=undo)
        except Exception as error:
            job.break_line()
            self.refused.append((job, error))
            return
        self.published = self._follow(self._trainer, self.published)
        if isinstance(job.request, Serve):
            self.serving = job.request.version
        answer = self._answer(job, outcome)
        self.accepted.append((job, answer))
        self.changes.append(
            Change(
                request=job.request,
                key=job.key,
                answer=answer,
                version=self._trainer.version,
                learning_rates=self._rates(outcome),
                state_digest=self._trainer.state_digest(serving=self.published.newest.digest),
            )
        )

    def _answer(self, job: Job, outcome: StepOutcome | FitOutcome | None) -> ChangeAnswer:
        rates = self._rates(outcome)
        stamp = self.published.newest.stamp
        if isinstance(outcome, StepOutcome):
            return StepAnswer(
                model=self._model,
                version=stamp.version,
                step=self._trainer.step,
                update=outcome.update,
                loss=outcome.loss,
                grad_norm=outcome.grad_norm,
                learning_rate=rates[0] if len(rates) == 1 else rates,
                rows=outcome.rows,
                digest=stamp.digest,
                serving=self.published.held_back_at,
            )
        answer = ControlAnswer(
            model=self._model,
            kind=job.request.kind,
            version=stamp.version,
            step=self._trainer.step,
            digest=stamp.digest,
            serving=self.serving,
            learning_rate=rates[0] if len(rates) == 1 else rates,
        )
        gate = self.published.gate
        if isinstance(job.request, Judge) and gate is not None:
            return GateAnswer(**asdict(answer), is_open=gate.is_open, reason=gate.reason)
        return answer if outcome is None else fit_answer(answer, outcome)

    def _rates(self, outcome: StepOutcome | FitOutcome | None) -> tuple[float, ...]:
        """Those that a step used, or that the next one would."""
        used = outcome.learning_rates if isinstance(outcome, StepOutcome) else None
        return self._trainer.learning_rates if used is None else used


def _check_wanted(job: Job, rejection: SlimvecError | None) -> None:
    """Refuse what is not to be begun any more.

    Raises:
        SlimvecError: why.
    """
    if rejection is not None:
        raise rejection.anew()
    if job.line is not None and job.line.is_broken:
        raise Unavailable(
            "stream_stopped", "an earlier record of this stream was refused; this was not applied"
        )
