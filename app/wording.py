"""Values and names of a config in messages: short, escaped, and nothing of what a batch holds.

Whatever a message repeats of a document goes through `offered`: a single value, cut and escaped.
Of an array or an object it tells the kind and the size, never what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_MOST_CHARACTERS = 40
# Python refuses to write out larger integers at all, and slowly writes those below.
_MOST_BITS = 128
_BITS_A_DIGIT = 3.3219


def offered(value: object) -> str:
    """A value of a config as a message may repeat it: one line of at most some 45 characters.

    >>> offered("qr"), offered(True), offered([1, 2]), offered({"a": 1})
    ("'qr'", 'true', 'an array of 2 entries', 'an object')
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, list | tuple):
        return f"an array of {len(value)} {'entry' if len(value) == 1 else 'entries'}"
    return "an object" if isinstance(value, dict) else "a value of another kind"


def number(value: float) -> str:
    """A bound in the fewest characters: whole numbers up to a million in full."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def either(choices: Iterable[str]) -> str:
    """`a, b or c`; each choice once."""
    *first, last = dict.fromkeys(choices)
    return f"{', '.join(first)} or {last}" if first else last


def some(names: Iterable[str], *, most: int = 8) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{', '.join(every[:most]) or 'none'}{more}"


def nearest(names: Iterable[str], name: str) -> list[str]:
    """All the names, those first that are most like a given one."""
    given = name[:_MOST_CHARACTERS]
    return sorted(names, key=lambda known: -SequenceMatcher(None, known, given).ratio())


def _quoted(text: str) -> str:
    """The text with quotation marks, what cannot be printed escaped; cut where it is long."""
    escaped = repr(text[: _MOST_CHARACTERS + 1])
    if len(text) <= _MOST_CHARACTERS and len(escaped) <= _MOST_CHARACTERS + 2:
        return escaped
    return f"{escaped[: _MOST_CHARACTERS + 1]}…{escaped[-1]}"


def _integer(value: int) -> str:
    bits = value.bit_length()
    if bits <= _MOST_BITS:
        return str(value)
    return f"an integer of about {int(bits / _BITS_A_DIGIT) + 1} digits"
