"""Files that torch.save would never write, made by hand."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def repacked(path: Path, changes: Mapping[str, bytes], *, compression: int = 0) -> Path:
    """The same archive with entries replaced or added, by their names inside the one folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(entries)).split("/")[0]
    entries |= {f"{folder}/{name}": content for name, content in changes.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


class Gadget:
    """Pickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def zipped(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()
