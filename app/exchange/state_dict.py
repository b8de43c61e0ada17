"""A layer from the operator's own file: `.pt` as torch.save writes it, or `.safetensors`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from app.codecs import unpack
from app.errors import ArtifactInvalid
from app.exchange.imported_layer import ImportedLayer, from_tensors, incompatible
from app.exchange.torch_archive import read_archive
from app.types import NamedArrays

MAX_FILE_BYTES = 4 << 30
_NAMED_AT_MOST = 8

_READERS: Mapping[str, Callable[[bytes], NamedArrays]] = {
    ".pt": read_archive,
    ".pth": read_archive,
    ".bin": read_archive,
    ".safetensors": lambda content: unpack(content)[0],
}
_NAMED = f"a file whose name ends in {', '.join(_READERS)}"


def read_state_dict(path: Path) -> ImportedLayer:
    """The one layer in a file; every message begins with the file's name, if there is one.

    Raises:
        ArtifactInvalid: `artifact_invalid` or `artifact_incompatible`, with what was found and
            what is expected.
    """
    if not path.name:  # Path("") is the current folder
        raise incompatible(f"expected the path of {_NAMED}; got an empty path or a folder")
    try:
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise incompatible(f"expected {_NAMED}")
        return _layer(reader(_content(path)))
    except ArtifactInvalid as error:
        raise ArtifactInvalid(f"{path.name}: {error.detail}", code=error.code) from error


def _layer(named: NamedArrays) -> ImportedLayer:
    try:
        return from_tensors(named)
    except ArtifactInvalid as error:
        raise ArtifactInvalid(
            f"{error.detail}; the file holds {_summary(named)}", code=error.code
        ) from error


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MAX_FILE_BYTES:
            raise ArtifactInvalid(f"expected a regular file of 1 to {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ArtifactInvalid(f"the file cannot be read: {reason}") from error


def _summary(named: NamedArrays) -> str:
    if not named:
        return "no tensors"
    shown = [
        f"{name[:64]!r} {array.shape}" for name, array in islice(named.items(), _NAMED_AT_MOST)
    ]
    more = len(named) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
