"""The API keys of a running server: found by id, compared in constant time, reloaded on change."""

from __future__ import annotations

import hmac
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.access.api_key import ApiKey, digest_of, split_token
from app.access.caller import Caller
from app.access.keys_file import read_keys
from app.errors import StartupError

log = logging.getLogger("slimvec.access")

_MAX_REMEMBERED = 4096
_NO_DIGEST = bytes(32)

# What tells one state of the file from another; nothing where there is no file.
_Mark = tuple[int, int, int, int] | None


@dataclass(slots=True)
class _Generation:
    """The keys of one state of the file, and the presented texts that were found right."""

    keys: dict[str, ApiKey]
    proven: dict[bytes, ApiKey] = field(default_factory=dict)


class KeyRing:
    """The keys of a file, as the file is now (looked at while it is asked).

    A file that cannot be used any more leaves the keys as they were, and says so in the log.

    Args:
        path: of the file.
        look_every_s: the least time between two looks at it.

    Raises:
        StartupError: `keys_file_invalid`; also when there is no key in it.
    """

    def __init__(self, path: Path, *, look_every_s: float = 1.0) -> None:
        self._path = path
        self._mark = _mark(path)
        self._current = _Generation(read_keys(path))
        if not self._current.keys:
            raise StartupError(
                "keys_file_invalid", f"the keys file {path} has no key; slimvec keys add makes one"
            )
        self._is_told = False
        self._look_every_s = look_every_s
        self._next_look_s = time.monotonic() + look_every_s

    def __len__(self) -> int:
        return len(self._current.keys)

    def find(self, token: bytes) -> Caller | None:
        """Who presents this key; nobody if it is wrong, revoked or expired."""
        if time.monotonic() >= self._next_look_s:
            self._look()
        current = self._current
        # A key that was proven is found by its hash table's keyed hash: what it costs says nothing
        # about a wrong one.
        key = current.proven.get(token)
        if key is None and (key := _prove(token, current.keys)) is not None:
            if len(current.proven) >= _MAX_REMEMBERED:
                current.proven.clear()
            current.proven[token] = key
        if key is None or time.time() >= key.expires_s:
            return None
        return key.caller

    def look_at_once(self) -> None:
        """Read the file at the next request, whether it seems changed or not; for SIGHUP."""
        self._is_told = True
        self._next_look_s = 0.0

    def _look(self) -> None:
        self._next_look_s = time.monotonic() + self._look_every_s
        mark = _mark(self._path)
        if mark == self._mark and not self._is_told:
            return
        self._mark, self._is_told = mark, False
        try:
            self._current = _Generation(read_keys(self._path))
        except StartupError as error:
            log.error("the API keys stay as they were: %s", error.detail)
        else:
            log.info("API keys reloaded", extra={"keys": len(self)})


def _prove(token: bytes, keys: dict[str, ApiKey]) -> ApiKey | None:
    parts = split_token(token)
    if parts is None:
        return None
    key_id, secret = parts
    key = keys.get(key_id)
    # An unknown id costs as much as a wrong secret.
    is_right = hmac.compare_digest(digest_of(secret), key.digest if key else _NO_DIGEST)
    return key if is_right else None


def _mark(path: Path) -> _Mark:
    try:
        status = os.stat(path)  # noqa: PTH116 half the cost, on the way of every request
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
