"""The file of API keys: hashes only, read strictly, replaced atomically.

Whoever can write it can let themselves in, so it must belong to its owner alone. Whoever reads it
learns ids, scopes and names of models, and no key.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.access.api_key import ApiKey
from app.access.caller import SCOPE_WORDS, Caller
from app.allowed import schema_of
from app.errors import StartupError
from app.faults import first_fault

MAX_BYTES = 1 << 20
MAX_COMMENT = 200
MODEL_GLOB = r"^[a-z0-9._*?-]{1,64}$"

_NEW_MODE = 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class _StoredKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scope: Literal["read", "train", "admin"]
    models: tuple[Annotated[str, Field(pattern=MODEL_GLOB)], ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None
    comment: str = Field(max_length=MAX_COMMENT)


class _StoredKeys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    keys: tuple[_StoredKey, ...]


def read_keys(path: Path) -> dict[str, ApiKey]:
    """The keys of a file, by id.

    Raises:
        StartupError: `keys_file_invalid`: it is not there, cannot be read, is damaged, or others
            may write it.
    """
    with _named(path), path.open("rb") as file:
        content, mode = file.read(MAX_BYTES + 1), os.fstat(file.fileno()).st_mode
    if mode & _WRITABLE_BY_OTHERS:
        raise _invalid(f"{path} can be written by others than its owner; chmod go-w it")
    return _parse(path, content)


@contextmanager
def edit_keys(path: Path) -> Iterator[dict[str, ApiKey]]:
    """The keys of a file (none if it is not there), to be changed; written when the block ends.

    Two that edit at once wait for each other. A reader finds the old file or the new one.

    Raises:
        StartupError: `keys_file_invalid`, as of `read_keys`, or it cannot be written.
    """
    path = path.resolve()  # a link stays one
    with _locked(path.parent) as folder:
        with _named(path):
            before = path.stat() if path.exists() else None
        keys = read_keys(path) if before else {}
        yield keys
        with _named(path):
            _replace(path, folder, _dump(keys.values()), before)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise _invalid(f"cannot be made: there is no folder {folder}; make it first") from error
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a fault of the disk into ours."""
    try:
        yield
    except OSError as error:
        raise _unusable(path, error) from error


def _replace(path: Path, folder: int, content: bytes, before: os.stat_result | None) -> None:
    sibling = path.with_name(f".{path.name}.{token_hex(4)}")
    file = os.open(sibling, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NEW_MODE)
    try:
        with os.fdopen(file, "wb") as stream:
            if before is not None:
                _keep_readers(file, before)
            stream.write(content)
            stream.flush()
            os.fsync(file)
        sibling.rename(path)
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    os.fsync(folder)


def _keep_readers(file: int, before: os.stat_result) -> None:
    """Give the new file the owner and mode of the old: the server must be able to read it still."""
    mine = os.fstat(file)
    if (mine.st_uid, mine.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(file, before.st_uid, before.st_gid)
    os.fchmod(file, stat.S_IMODE(before.st_mode))


def _parse(path: Path, content: bytes) -> dict[str, ApiKey]:
    if len(content) > MAX_BYTES:
        raise _invalid(f"{path} has more than {MAX_BYTES} bytes")
    try:
        stored = _StoredKeys.model_validate_json(content)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise _invalid(f"{path} is damaged: it is not one whole JSON document") from None
        fault = first_fault(error, schema_of(_StoredKeys))
        raise _invalid(f"{path} is damaged: at {fault.pointer}: {fault.sentence}") from None
    keys = {key.id: _loaded(key) for key in stored.keys}
    if len(keys) < len(stored.keys):
        raise _invalid(f"{path} is damaged: an id stands there twice")
    return keys


def _loaded(stored: _StoredKey) -> ApiKey:
    return ApiKey(
        caller=Caller(stored.id, SCOPE_WORDS[stored.scope], stored.models),
        digest=bytes.fromhex(stored.sha256),
        created_s=stored.created.timestamp(),
        expires_s=stored.expires.timestamp() if stored.expires else inf,
        comment=stored.comment,
    )


def _dump(keys: Iterable[ApiKey]) -> bytes:
    stored = _StoredKeys(format=1, keys=tuple(map(_stored, keys)))
    return orjson.dumps(
        stored.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


def _stored(key: ApiKey) -> _StoredKey:
    assert key.caller.scope is not None, "a key has a scope"
    return _StoredKey.model_validate(
        {
            "id": key.caller.id,
            "sha256": key.digest.hex(),
            "scope": key.caller.scope.word,
            "models": key.caller.models,
            "created": datetime.fromtimestamp(key.created_s, UTC),
            "expires": None if key.expires_s == inf else datetime.fromtimestamp(key.expires_s, UTC),
            "comment": key.comment,
        }
    )


def _invalid(detail: str) -> StartupError:
    return StartupError("keys_file_invalid", f"the keys file {detail}")


def _unusable(path: Path, error: OSError) -> StartupError:
    reason = os.strerror(error.errno or 0).lower()
    if isinstance(error, FileNotFoundError):
        way_out = f"make the first key: slimvec keys add --keys-file {path}"
    elif isinstance(error, IsADirectoryError):
        way_out = "name a file in it"
    else:
        way_out = f"give it to this process (user {os.geteuid()}); it holds hashes, no keys"
    return _invalid(f"{path}: {reason}; {way_out}")
