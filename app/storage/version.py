"""The content of one version folder: its files, their digests, their limits.

Note [Digests]
    state.json is written last and names the SHA-256 of every file under "files", also its own:
    that of its canonical form without that entry. So a flipped bit anywhere in the folder is
    seen, also one that would turn the word "files" into another. A folder without state.json was
    made by hand and has nothing to be checked against.
"""

from __future__ import annotations

import hashlib
import json
from typing import cast

from app.errors import ArtifactInvalid, TooLarge
from app.storage.directory import Directory
from app.types import Json, VersionFiles

CONFIG, MODEL, TRAINER, KEYS, STATE = (
    "config.json",
    "model.safetensors",
    "trainer.safetensors",
    "keys.jsonl",
    "state.json",
)
MAX_BYTES = {CONFIG: 1 << 20, MODEL: 4 << 30, TRAINER: 16 << 30, KEYS: 1 << 30, STATE: 1 << 20}


def write_files(folder: Directory, files: VersionFiles) -> None:
    """Writes and syncs the files of a version into an empty open folder, state.json last.

    Raises:
        TooLarge: a file is larger than what would be read back.
        OSError: as the system gives it.
    """
    contents = {CONFIG: files.config, MODEL: files.model}
    if files.trainer is not None:
        contents[TRAINER] = files.trainer
    if files.keys:  # an empty file is never read back, and says nothing
        contents[KEYS] = files.keys
    contents[STATE] = _seal(files.state, contents)
    for name, content in contents.items():
        if len(content) > MAX_BYTES[name]:
            raise TooLarge(
                "version_too_large",
                f"expected a {name} of at most {MAX_BYTES[name]} bytes, got {len(content)}",
            )
    for name, content in contents.items():
        folder.write(name, content)
    folder.sync()


def read_files(folder: Directory) -> VersionFiles:
    """Reads the files of an open version folder and checks them against state.json.

    Raises:
        ArtifactInvalid: names the file, and what is wrong with it.
        OSError: a fault that is not the file's own.
    """
    state = read_state(folder)
    contents = {
        name: folder.read(name, max_bytes=MAX_BYTES[name])
        for name in (CONFIG, MODEL, TRAINER, KEYS)
    }
    for name in (CONFIG, MODEL):
        if contents[name] is None:
            raise ArtifactInvalid(f"{name} is missing")
    if state:
        _check_digests(state["files"], contents)
    return VersionFiles(
        config=cast(bytes, contents[CONFIG]),  # both were just seen not to be None
        model=cast(bytes, contents[MODEL]),
        trainer=contents[TRAINER],
        state=state,
        keys=contents[KEYS],
    )


def read_state(folder: Directory) -> Json:
    """Reads state.json alone; empty when the folder was made by hand.

    Raises:
        ArtifactInvalid: state.json is damaged.
        OSError: a fault that is not the file's own.
    """
    sealed = folder.read(STATE, max_bytes=MAX_BYTES[STATE])
    return {} if sealed is None else _unseal(sealed)


def _seal(state: Json, contents: dict[str, bytes]) -> bytes:
    digests = {name: _digest(content) for name, content in contents.items()}
    # Through JSON and back: tuples and integer keys must have the canonical form of what is read.
    named = json.loads(json.dumps({**state, "files": digests}, allow_nan=False))
    named["files"][STATE] = _digest(_canonical(named))
    return json.dumps(named, indent=2).encode() + b"\n"


def _unseal(sealed: bytes) -> Json:
    try:
        state = json.loads(sealed)
    except (ValueError, RecursionError):
        raise ArtifactInvalid(f"{STATE} is not JSON") from None
    if not isinstance(state, dict) or not isinstance(state.get("files"), dict):
        raise ArtifactInvalid(f"{STATE} does not name the digests of the other files")
    if state["files"].pop(STATE, None) != _digest(_canonical(state)):
        raise ArtifactInvalid(f"{STATE} differs from the digest that it holds of itself")
    return cast(Json, state)  # json.loads gives Any; a dict by the check above


def _canonical(state: Json) -> bytes:
    return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_digests(digests: Json, contents: dict[str, bytes | None]) -> None:
    for name, content in contents.items():
        if content is None and name in digests:
            raise ArtifactInvalid(f"{name} is missing, {STATE} names it")
        if content is not None and _digest(content) != digests.get(name):
            raise ArtifactInvalid(f"{name} differs from its digest in {STATE}")
