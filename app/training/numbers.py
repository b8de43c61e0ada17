"""JSON values that are numbers, or are the same but for their numbers."""

from __future__ import annotations

from app.config import MAX_LEARNING_RATE


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite real number; a bool is none."""
    return isinstance(value, int | float) and type(value) is not bool and -1e308 < value < 1e308


def is_learning_rate(value: float) -> bool:
    """Whether training can survive it; torch itself accepts infinity, 1e30 and True."""
    return 0 < value <= MAX_LEARNING_RATE


def is_scheduled_rate(value: float) -> bool:
    """The same for a rate that a schedule made: it may come down to zero."""
    return 0 <= value <= MAX_LEARNING_RATE


def is_like(saved: object, live: object) -> bool:
    """Whether two JSON values are the same except for the values of numbers."""
    if is_number(live):
        return is_number(saved)
    if isinstance(live, dict):
        return (
            isinstance(saved, dict)
            and saved.keys() == live.keys()
            and all(is_like(saved[key], value) for key, value in live.items())
        )
    if isinstance(live, list):
        return (
            isinstance(saved, list) and len(saved) == len(live) and all(map(is_like, saved, live))
        )
    return type(saved) is type(live) and saved == live
