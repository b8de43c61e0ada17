"""Files of paired embeddings: `{train,val,test}_{q,d}.npy`, and labels where there are some."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_SPLITS = ("train", "val", "test")
# Beginning of the content digest of the public set, for which absolute goals are known.
_PUBLIC = "09e16445bf37c901"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Row i of the documents is query i's own; both (pairs, width), lengths as in the file."""

    queries: Tensor
    documents: Tensor

    @property
    def every(self) -> Tensor:
        """Queries, and below them the documents."""
        return torch.cat([self.queries, self.documents])

    def chosen(self, rows: Tensor) -> Pairs:
        """Some of the pairs: row numbers or a mask."""
        return Pairs(self.queries[rows], self.documents[rows])

    def scaled(self, factor: float) -> Pairs:
        """The same directions at another length."""
        return Pairs(self.queries * factor, self.documents * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Pairs to learn from, to choose by and to report on.

    Attributes:
        labels: of the rows of train and test, by split; empty without a file of them.
        is_public: whether these are the vectors that the absolute goals were measured on.
    """

    train: Pairs
    val: Pairs
    test: Pairs
    labels: dict[str, list[str]]
    is_public: bool

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.train.queries.shape[1]


def read_splits(folder: Path) -> Splits:
    """All splits of a folder, in float32.

    Raises:
        OSError: a file is missing.
    """
    train, val, test = (
        Pairs(*(torch.from_numpy(_load(folder, split, side)).float() for side in "qd"))
        for split in _SPLITS
    )
    return Splits(
        train=train,
        val=val,
        test=test,
        labels=_labels(folder),
        is_public=content_digest(folder).startswith(_PUBLIC),
    )


def missing_files(folder: Path) -> list[str]:
    """Names of the files that `read_splits` wants and the folder lacks."""
    wanted = [f"{split}_{side}.npy" for split in _SPLITS for side in "qd"]
    return [name for name in wanted if not (folder / name).is_file()]


def content_digest(folder: Path) -> str:
    """What the vectors are, whatever the folder is called."""
    known = sha256()
    for split in _SPLITS:
        for side in "qd":
            known.update(np.ascontiguousarray(_load(folder, split, side)).tobytes())
    return known.hexdigest()


def _load(folder: Path, split: str, side: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    rows = np.load(folder / f"{split}_{side}.npy", allow_pickle=False)
    return rows


def _labels(folder: Path) -> dict[str, list[str]]:
    paths = {split: folder / f"{split}_meta.json" for split in ("train", "test")}
    if not all(path.exists() for path in paths.values()):
        return {}
    return {split: json.loads(path.read_text())["labels"] for split, path in paths.items()}
