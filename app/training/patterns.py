"""Patterns of parameter names: regular expressions whose search cannot take for ever.

# Note [Patterns from strangers]
Python's `re` backtracks: `(a+)+$` on thirty letters takes minutes, and holds everything up. The
time is exponential where a repetition is repeated, so groups may not be; it grows with the length
of the name to the power of the repetitions that stand side by side, so they are few. A name is some
hundred letters long at most.
"""

from __future__ import annotations

import re

from app.errors import ConfigInvalid
from app.wording import offered

_MOST_CHARACTERS = 256
_MOST_REPETITIONS = 3

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_REPETITION = re.compile(r"[*+{]")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_BACK_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")


def compile_pattern(pattern: str, *, pointer: str) -> re.Pattern[str]:
    """The regular expression, when searching it in a name takes no time to speak of.

    See Note [Patterns from strangers].

    Raises:
        ConfigInvalid: it is none, is too long, repeats a group, refers back, or repeats too often.
    """
    if fault := _fault(pattern):
        raise ConfigInvalid(
            f"expected a regular expression {fault}; name the parameters more plainly",
            pointer=pointer,
        )
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise ConfigInvalid(
            f"expected a regular expression, got {offered(pattern)}, which is none", pointer=pointer
        ) from None


def _fault(pattern: str) -> str:
    """What keeps a pattern from being searched; nothing when it may be."""
    plain = _ESCAPED.sub("", pattern)
    repetitions = len(_REPETITION.findall(plain))
    if len(pattern) > _MOST_CHARACTERS:
        return f"of at most {_MOST_CHARACTERS} characters, got {len(pattern)}"
    if _REPEATED_GROUP.search(plain):
        return "that repeats single characters only, got a repeated group"
    if _BACK_REFERENCE.search(pattern):
        return "without references to its own groups, got one"
    if repetitions > _MOST_REPETITIONS:
        return f"with at most {_MOST_REPETITIONS} of *, + and {{}}, got {repetitions}"
    return ""
