"""An API key: made once and shown once; what is kept of it is a hash.

A key is `sv_<id>_<secret>`: the id finds it, the secret proves it. The secret has 256 random bits,
so one round of SHA-256 keeps it as well as a slow hash would, which are for passwords.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

from app.access.caller import Caller

_ID_BYTES = 6
_SECRET_BYTES = 32
_TOKEN = re.compile(rb"sv_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of a key.

    Attributes:
        caller: the id, and what its holder may ask.
        digest: SHA-256 of the secret.
        created_s, expires_s: seconds of the clock of the world; infinite for never.
        comment: the operator's own words.
    """

    caller: Caller
    digest: bytes
    created_s: float
    expires_s: float
    comment: str


def make_api_key(taken: frozenset[str]) -> tuple[str, str, bytes]:
    """A new key: the text that its holder keeps, its id (none of `taken`), its digest."""
    while (key_id := secrets.token_hex(_ID_BYTES)) in taken:
        pass
    secret = secrets.token_hex(_SECRET_BYTES)
    return f"sv_{key_id}_{secret}", key_id, digest_of(secret.encode())


def split_token(token: bytes) -> tuple[str, bytes] | None:
    """Id and secret of a presented key; nothing when it has not the form of one."""
    match = _TOKEN.fullmatch(token)
    return (match[1].decode(), match[2]) if match else None


def find_key_id(text: bytes) -> str | None:
    """The id of a key that stands somewhere in a text where none belongs."""
    match = _TOKEN.search(text)
    return match[1].decode() if match else None


def digest_of(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return sha256(secret).digest()
