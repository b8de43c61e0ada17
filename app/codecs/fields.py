"""Field names: those a body may hold, each once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from app.errors import Malformed, SlimvecError, Unacceptable


def check_fields(names: Sequence[str], allowed: Collection[str], *, pointer: str = "") -> None:
    """Refuse a name outside `allowed`, and a name given twice.

    Raises:
        Unacceptable: `unknown_field`.
        Malformed: `duplicate_key`.
    """
    found = set(names)
    if not found.issubset(allowed):
        raise Unacceptable(
            "unknown_field",
            f"expected only the fields {', '.join(sorted(allowed))}; got another one; remove it",
            pointer=pointer,
        )
    if len(found) < len(names):
        raise duplicate_key(pointer)


def duplicate_key(pointer: str = "") -> SlimvecError:
    """The refusal of an object that names a field twice: which one counts is anyone's guess."""
    return Malformed(
        "duplicate_key",
        "expected every key once in an object, got one twice; send one of them",
        pointer=pointer,
    )


def empty_body(media_type: str) -> SlimvecError:
    """The refusal of a body without bytes."""
    return Malformed("empty_body", f"expected a body of {media_type}, got no bytes; send one")
