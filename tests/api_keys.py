"""Keys files for tests."""

from __future__ import annotations

from math import inf
from pathlib import Path

from app.access import ApiKey, Caller, KeyScope, edit_keys, make_api_key


def add_key(
    path: Path,
    scope: KeyScope = KeyScope.READ,
    models: tuple[str, ...] = ("*",),
    *,
    expires_s: float = inf,
) -> str:
    """Put one more key into the file; the text that its holder keeps."""
    with edit_keys(path) as keys:
        text, key_id, digest = make_api_key(frozenset(keys))
        keys[key_id] = ApiKey(
            caller=Caller(key_id, scope, models),
            digest=digest,
            created_s=0.0,
            expires_s=expires_s,
            comment="of a test",
        )
    return text


def revoke_key(path: Path, text: str) -> None:
    """Take a key out of the file."""
    with edit_keys(path) as keys:
        del keys[text.split("_")[1]]
