"""`Client`: performs the flows of `Verbs` with a blocking httpx client."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from app.client.acknowledgements import Item
from app.client.actions import Done, Emit, advance
from app.client.arrays import BatchLike, Single
from app.client.control_client import ControlClient
from app.client.stream import Window
from app.client.verbs import Method, OnError
from app.client.wire import Wire
from app.types import (
    Batch,
    Derivative,
    EvaluationAnswer,
    FitAnswer,
    Reduced,
    Serving,
    StepAnswer,
)

T = TypeVar("T")

_WINDOW = Window()


class Client(ControlClient):
    """One model of a Slimvec server; a context manager. Arguments as of `ControlClient`."""

    def reduce(
        self,
        hidden_states: ArrayLike,
        *,
        version: Serving | None = None,
        require_version: int | None = None,
        normalize: bool = False,
        dimensions: int | None = None,
        mask: ArrayLike | None = None,
        branch: str | None = None,
    ) -> Reduced:
        """Make vectors smaller; the answer is stamped with the weights that did it.

        Args:
            hidden_states: shape (…, input_size).
            version: a retained version, or "live" for the newest one.
            require_version: `PreconditionFailed` unless this version answers.
            normalize: divide each reduced row by its L2 norm.
            dimensions: keep the first components (nested models only); before normalize.
            mask: shape (…, length), 1 for each token that counts, for layers that look at it.
            branch: which of the branches that the layers declare; the first by default.

        Returns:
            `array` of shape (…, n_components), float32, and its `stamp`.
        """
        return self._run(
            self._verbs.reduce(
                hidden_states,
                version=version,
                require_version=require_version,
                normalize=normalize,
                dimensions=dimensions,
                mask=mask,
                branch=branch,
            )
        )

    def train_step(
        self,
        hidden_states: ArrayLike,
        *,
        targets: ArrayLike | None = None,
        positives: ArrayLike | None = None,
        negatives: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        sample_weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        loss: str | None = None,
        branch: str | None = None,
        if_version: int | None = None,
        key: str | None = None,
    ) -> StepAnswer:
        """Update the weights once; applied exactly once, however often it has to be sent.

        Args:
            hidden_states: shape (…, input_size).
            targets: as the loss asks, shape (…, n_components).
            positives: like hidden_states, one for each row; as the loss asks, and so are the next.
            negatives: like hidden_states.
            labels: shape (…), a whole number for each row.
            sample_weights: shape (…), one weight for each row.
            mask: shape (…, length), 1 for each token that counts, for layers that look at it.
            loss: the name of a loss, instead of the config's.
            branch: which of the branches that the layers declare; the first by default.
            if_version: `PreconditionFailed` unless the model is at this version.
            key: the Idempotency-Key; without one, a new one for this call.
        """
        fields = {
            "hidden_states": hidden_states,
            "targets": targets,
            "positives": positives,
            "negatives": negatives,
            "labels": labels,
            "sample_weights": sample_weights,
            "mask": mask,
        }
        return self._run(
            self._verbs.train_step(fields, loss=loss, branch=branch, if_version=if_version, key=key)
        )

    def evaluate(
        self,
        hidden_states: ArrayLike,
        *,
        targets: ArrayLike | None = None,
        positives: ArrayLike | None = None,
        negatives: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        sample_weights: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        tangents: ArrayLike | None = None,
        loss: str | Sequence[str] | None = None,
        branch: str | None = None,
        version: Serving | None = None,
    ) -> EvaluationAnswer:
        """Losses and quality metrics of a version on a batch; nothing changes.

        Args:
            hidden_states: shape (…, input_size).
            targets: as the loss asks, and so are the next ones; see `train_step`.
            positives: also the corpus of `mrr`, `r1`, `r10` and `nn10`.
            negatives: like hidden_states.
            labels: shape (…), a whole number for each row.
            sample_weights: shape (…), one weight for each row.
            mask: shape (…, length), 1 for each token that counts, for layers that look at it.
            tangents: along which the sensitivity is taken; random ones by default.
            loss: names of losses; the config's by default, where the batch has what it needs.
            branch: which of the branches that the layers declare; the first by default.
            version: a retained version, or "live" for the newest one.
        """
        fields = {
            "hidden_states": hidden_states,
            "targets": targets,
            "positives": positives,
            "negatives": negatives,
            "labels": labels,
            "sample_weights": sample_weights,
            "mask": mask,
            "tangents": tangents,
        }
        return self._run(self._verbs.evaluate(fields, loss=loss, branch=branch, version=version))

    def jvp(
        self,
        hidden_states: ArrayLike,
        tangents: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        branch: str | None = None,
        version: Serving | None = None,
    ) -> Derivative:
        """Reduced vectors, and how they change as each row moves along its tangent.

        Args:
            hidden_states: shape (…, input_size).
            tangents: of the same shape.
            mask: shape (…, length), 1 for each token that counts, for layers that look at it.
            branch: which of the branches that the layers declare; the first by default.
            version: a retained version, or "live" for the newest one.

        Returns:
            `reduced` and `derivative` of shape (…, n_components), float32, and their `stamp`.
        """
        fields = {"hidden_states": hidden_states, "tangents": tangents, "mask": mask}
        return self._run(self._verbs.jvp(fields, branch=branch, version=version))

    def train_stream(
        self,
        batches: Iterable[BatchLike],
        *,
        loss: str | None = None,
        on_error: OnError = "stop",
        key: str | None = None,
        window: Window = _WINDOW,
    ) -> Generator[Item, None, None]:
        """Train on one batch after another; each is applied exactly once.

        Yields an `Acknowledgement` whenever more records are durable, and a `Refused` for each
        record that the server refused. Batches are taken as they can be sent, and held until they
        are settled; a broken connection or a restart of the server is waited out.

        Args:
            batches: arrays of hidden_states, or `Batch`es.
            loss: the name of a loss, instead of the config's.
            on_error: after a refused record, raise its error ("stop") or go on ("skip").
            key: what the records' keys begin with; without one, a new one for this call. The same
                key and the same batches again apply nothing twice.
            window: how much is sent before acknowledgements are read.
        """
        flow = self._verbs.train_stream(loss=loss, on_error=on_error, key=key, window=window)
        with closing(flow), Wire(self._http, batches) as wire:
            step = advance(flow)
            while not isinstance(step, Done):
                if isinstance(step, Emit):
                    yield step.item
                    step = advance(flow)
                else:
                    step = advance(flow, wire.perform(step))

    def fit(
        self,
        batches: Single | Iterable[BatchLike],
        *,
        method: Method = "pca",
        if_version: int | None = None,
    ) -> FitAnswer:
        """Start anew from data, read once at bounded memory; the weights come in closed form.

        Sent once: a broken connection is told (`Interrupted`), and nothing was changed unless the
        answer came; with `if_version` you can send it again yourself.

        Args:
            batches: one batch, or one after another: arrays of hidden_states, or `Batch`es with
                positives.
            method: the name of a fit method, or `{"type": …}` with its arguments.
            if_version: `PreconditionFailed` unless the model is at this version.
        """
        given = (batches,) if isinstance(batches, Batch | np.ndarray) else batches
        return self._run(self._verbs.fit(method=method, if_version=if_version), given)
