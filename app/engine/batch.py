"""A batch: requests of one snapshot that share a product, and what comes of it for each."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from app.engine.multiplier import Multiplier
from app.engine.out_of_memory import MemoryWatch, is_out_of_memory
from app.engine.snapshot import Snapshot
from app.errors import OutOfMemory
from app.types import FloatArray

log = logging.getLogger("slimvec.engine")


@dataclass(frozen=True, slots=True)
class Product:
    """The reduced rows of one request.

    Attributes:
        array: shape `(rows, n_components)`; possibly a view of a product that others share.
        is_finite: whether every number is.
    """

    array: FloatArray
    is_finite: bool


Outcome: TypeAlias = Product | Exception


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: its rows, and who waits for them."""

    rows: FloatArray
    answer: Future[Product]

    def settle(self, outcome: Outcome) -> None:
        """Answer, unless whoever waited has gone."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


def outcomes(
    multiplier: Multiplier, memory: MemoryWatch, snapshot: Snapshot, parts: Sequence[FloatArray]
) -> list[Outcome]:
    """Multiply the rows of several requests at once; no request suffers by another.

    Where memory is short, each half is tried once more; after any other failure, each request
    alone.

    Shape: parts `(rows, input_size)`.
    """
    try:
        found = _products(multiplier.multiply(snapshot, parts), parts)
    except Exception as error:
        if is_out_of_memory(error):
            return _in_halves(multiplier, memory, snapshot, parts)
        if len(parts) == 1:
            return [error]
        return [
            outcome for part in parts for outcome in outcomes(multiplier, memory, snapshot, (part,))
        ]
    memory.succeeded()
    return found


def _products(reduced: FloatArray, parts: Sequence[FloatArray]) -> list[Outcome]:
    """What belongs to each request; all are looked at together, and one by one if need be."""
    is_finite = bool(np.isfinite(reduced).all())
    if len(parts) == 1:
        return [Product(reduced, is_finite)]
    found: list[Outcome] = []
    end = 0
    for part in parts:
        begin, end = end, end + len(part)
        own = reduced[begin:end]
        found.append(Product(own, is_finite or bool(np.isfinite(own).all())))
    return found


def _in_halves(
    multiplier: Multiplier, memory: MemoryWatch, snapshot: Snapshot, parts: Sequence[FloatArray]
) -> list[Outcome]:
    log.warning("out of memory: a batch is tried in halves", extra={"requests": len(parts)})
    if snapshot.device.type == "cuda":
        with suppress(RuntimeError):  # of a device that has failed; the halves will say so
            torch.cuda.empty_cache()  # blocks of other sizes may be all that is in the way
    if len(parts) == 1:
        found = [_halved(multiplier, snapshot, parts[0])]
    else:
        middle = len(parts) // 2
        halves = (parts[:middle], parts[middle:])
        found = [outcome for half in halves for outcome in _once(multiplier, snapshot, half)]
    if any(isinstance(outcome, Exception) for outcome in found):
        memory.failed()
    else:
        memory.succeeded()
    return found


def _halved(multiplier: Multiplier, snapshot: Snapshot, rows: FloatArray) -> Outcome:
    """One request in two products, of which the second needs what the first gave back."""
    middle = (len(rows) + 1) // 2
    halves = [half for half in (rows[:middle], rows[middle:]) if len(half)]
    try:
        reduced = np.concatenate([multiplier.multiply(snapshot, (half,)) for half in halves])
        return Product(reduced, bool(np.isfinite(reduced).all()))
    except Exception as error:
        return OutOfMemory() if is_out_of_memory(error) else error


def _once(multiplier: Multiplier, snapshot: Snapshot, parts: Sequence[FloatArray]) -> list[Outcome]:
    try:
        return _products(multiplier.multiply(snapshot, parts), parts)
    except Exception as error:
        failure = OutOfMemory() if is_out_of_memory(error) else error
        return [failure] * len(parts)
