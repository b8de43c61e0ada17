"""What a training stream hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.errors import SlimvecError
from app.types import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Every record up to `ack` is settled: applied and durable, or refused before.

    Attributes:
        ack: counts the records of the whole stream from 1.
        version, step, update, loss, grad_norm, learning_rate, rows: of the newest applied record;
            None where none was applied yet.
        serving: the version that `live` stays at while the gate holds that version back.
        records_per_s: of the request that carried it, as the server counts.
    """

    ack: int
    version: int | None = None
    step: int | None = None
    update: Update | None = None
    loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | tuple[float, ...] | None = None
    rows: int | None = None
    serving: int | None = None
    records_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused one record, and it changed nothing; `record` counts from 1."""

    record: int
    error: SlimvecError


Item: TypeAlias = Acknowledgement | Refused
