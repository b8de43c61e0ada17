"""Every verb as a flow: which request asks for it, and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import orjson
from numpy.typing import ArrayLike

from app.client.actions import Answer, Flow, Request, Upload
from app.client.arrays import SAFETENSORS, Fields, pack_fields, read_derivative, read_reduced
from app.client.control_verbs import ControlVerbs, condition, query_of, read
from app.client.refusals import accepted
from app.client.retries import send
from app.client.stream import Stream, Window
from app.types import (
    Derivative,
    EvaluationAnswer,
    FitAnswer,
    Reduced,
    Serving,
    StepAnswer,
)

OnError: TypeAlias = Literal["stop", "skip"]
Method: TypeAlias = str | Mapping[str, Any]

_FRAMES = "application/x-slimvec-frames"


class Verbs(ControlVerbs):
    """The verbs for one model: of vectors, of training, and those of an operator."""

    def reduce(
        self,
        hidden_states: ArrayLike,
        *,
        version: Serving | None,
        require_version: int | None,
        normalize: bool,
        dimensions: int | None,
        mask: ArrayLike | None,
        branch: str | None,
    ) -> Flow[Reduced]:
        """Make vectors smaller."""
        query = query_of(
            version=version,
            require_version=require_version,
            normalize="true" if normalize else None,
            dimensions=dimensions,
            branch=branch,
        )
        request = Request(
            "POST",
            self._hot("/reduce"),
            query=query,
            headers={"content-type": SAFETENSORS, "accept": SAFETENSORS},
            body=(pack_fields({"hidden_states": hidden_states, "mask": mask}),),
            is_repeatable=True,
        )
        return read_reduced((yield from send(request, self._retries)))

    def train_step(
        self,
        batch: Fields,
        *,
        loss: str | None,
        branch: str | None,
        if_version: int | None,
        key: str | None,
    ) -> Flow[StepAnswer]:
        """Update the weights once, under one key for all tries."""
        request = Request(
            "POST",
            self._hot("/train-step"),
            query=query_of(loss=loss, branch=branch),
            headers={
                "content-type": SAFETENSORS,
                "idempotency-key": key or str(uuid4()),
                **condition(if_version),
            },
            body=(pack_fields(batch),),
            is_repeatable=True,
        )
        return (yield from self._ask(request, StepAnswer))

    def evaluate(
        self,
        batch: Fields,
        *,
        loss: str | Sequence[str] | None,
        branch: str | None,
        version: Serving | None,
    ) -> Flow[EvaluationAnswer]:
        """Losses and quality of a version."""
        names = loss if loss is None or isinstance(loss, str) else ",".join(loss)
        request = Request(
            "POST",
            self._hot("/evaluate"),
            query=query_of(loss=names, branch=branch, version=version),
            headers={"content-type": SAFETENSORS},
            body=(pack_fields(batch),),
            is_repeatable=True,
        )
        return (yield from self._ask(request, EvaluationAnswer))

    def jvp(
        self, fields: Fields, *, branch: str | None, version: Serving | None
    ) -> Flow[Derivative]:
        """Reduced vectors and their derivatives."""
        request = Request(
            "POST",
            self._hot("/jvp"),
            query=query_of(branch=branch, version=version),
            headers={"content-type": SAFETENSORS, "accept": SAFETENSORS},
            body=(pack_fields(fields),),
            is_repeatable=True,
        )
        return read_derivative((yield from send(request, self._retries)))

    def train_stream(
        self, *, loss: str | None, on_error: OnError, key: str | None, window: Window
    ) -> Flow[None]:
        """Train on the batches that the driver hands in."""
        request = Request(
            "POST",
            self._hot("/train-stream"),
            query=query_of(loss=loss, on_error=on_error),
            headers={"content-type": _FRAMES},
            is_repeatable=True,
        )
        stream = Stream(
            lambda body: replace(request, body=body),
            key=key or str(uuid4()),
            skips=on_error == "skip",
            window=window,
            retries=self._retries,
        )
        yield from stream.run()

    def fit(self, *, method: Method, if_version: int | None) -> Flow[FitAnswer]:
        """Make the weights from the batches that the driver hands in; sent once."""
        name = method if isinstance(method, str) else orjson.dumps(dict(method)).decode()
        request = Request(
            "POST",
            self._hot("/fit"),
            query=query_of(method=name),
            headers={"content-type": _FRAMES, **condition(if_version)},
        )
        answer: Answer = yield Upload(request)
        return read(accepted(answer), FitAnswer)

    def _hot(self, verb: str) -> str:
        return verb if self._model is None else f"/models/{self._model}{verb}"
