"""Correctness first: what a contender computes is compared with numpy before it is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors.numpy import load

from app.types import FloatArray
from benchmarks.contenders import (
    LEARNERS,
    NAIVE,
    NAIVE_DEF,
    OURS,
    VOLATILE,
    Call,
    ContenderFailed,
)
from benchmarks.in_process import Learner
from benchmarks.scenarios import Scenario, Verb
from benchmarks.work import JSON, SAFETENSORS, batch, encode, weights

TRAIN_ROWS = 32

# float32 sums of 768 products in another order differ by a few units of the last place (6e-8).
_RELATIVE = 1e-5
_ABSOLUTE = 1e-5
_TRAIN_STEPS = 3


class Answering(Protocol):
    """A contender, as far as this module needs it."""

    @property
    def name(self) -> str:
        """For messages, and for the form of its requests."""

    def send(self, call: Call, /) -> bytes:
        """The body of the answer."""


def call(contender: str, verb: Verb, rows: int, media_type: str) -> Call:
    """The request that Slimvec, in either form, or the plain service gets."""
    body = encode(batch(rows, with_targets=verb == "train-step"), media_type)
    if contender in (OURS, VOLATILE) and verb == "train-step":
        return Call(f"/models/{LEARNERS[media_type]}/train-step", media_type, body)
    return Call(f"/{verb}", media_type, body)


def verify_reduce(server: Answering, rows: int, media_type: str) -> None:
    """Compare one answer with numpy's product.

    Raises:
        ContenderFailed: it differs by more than rounding.
    """
    answer = server.send(call(server.name, "reduce", rows, media_type))
    expected = batch(rows, with_targets=False)["hidden_states"] @ weights().T
    _check(server, f"reduce of {rows} rows ({media_type})", _reduced(answer, media_type), expected)


def verify_training(server: Answering, media_type: str) -> None:
    """Compare the losses of the first steps with a plain loop's; only for untrained servers.

    Raises:
        ContenderFailed: they differ by more than rounding.
    """
    request = call(server.name, "train-step", TRAIN_ROWS, media_type)
    learner = Learner(TRAIN_ROWS)
    for number in range(1, _TRAIN_STEPS + 1):
        loss = orjson.loads(server.send(request))["loss"]
        _check(server, f"loss of train step {number}", np.array(loss), np.array(learner.step()))


def verify(servers: Mapping[str, Answering], scenarios: list[Scenario]) -> None:
    """Verify everything that these scenarios time, and the training of every Slimvec.

    Raises:
        ContenderFailed: the first contender that computes something else.
    """
    for rows in sorted({s.rows for s in scenarios if s.verb == "reduce"}):
        verify_reduce(servers[OURS], rows, JSON)
        verify_reduce(servers[OURS], rows, SAFETENSORS)
        verify_reduce(servers[NAIVE], rows, JSON)
        verify_reduce(servers[NAIVE_DEF], rows, JSON)
    for name in {OURS, VOLATILE} & servers.keys():
        verify_training(servers[name], JSON)
        verify_training(servers[name], SAFETENSORS)
    if any(s.verb == "train-step" for s in scenarios):
        verify_training(servers[NAIVE], JSON)
        verify_training(servers[NAIVE_DEF], JSON)


def _reduced(answer: bytes, media_type: str) -> FloatArray:
    if media_type == SAFETENSORS:
        reduced: FloatArray = load(answer)["reduced"]
        return reduced
    return np.array(orjson.loads(answer)["reduced"], np.float32)


def _check(server: Answering, what: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=_RELATIVE, atol=_ABSOLUTE
    ):
        raise ContenderFailed(f"{server.name}: {what} is not what numpy and a plain loop compute")
