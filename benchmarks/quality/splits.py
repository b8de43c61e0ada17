"""Files of paired embeddings: `{train,val,test}_{q,d}.npy`, and labels where there are some."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_SPLITS = ("train", "val", "test")
# Beginning of the content digest of the public set, for which absolute goals are known.
PUBLIC = "09e16445bf37c901"


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

    def unit(self) -> Pairs:
        """The same directions at length 1."""
        return Pairs(*(F.normalize(rows, dim=1) for rows in (self.queries, self.documents)))

    def scaled(self, factor: float) -> Pairs:
        """The same directions at another length."""
        return Pairs(self.queries * factor, self.documents * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Pairs to learn from, to choose by and to report on.

    Attributes:
        labels: of the rows of train and test, by split; empty without a file of them.
        digest: of the content of the pairs' files; empty of a part.
        states: raw token states of the texts of train and test, by split; empty without files of
            them. They may be of another width.
    """

    train: Pairs
    val: Pairs
    test: Pairs
    labels: dict[str, list[str]]
    digest: str
    states: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def is_public(self) -> bool:
        """Whether these are the vectors that the absolute goals were measured on."""
        return self.digest.startswith(PUBLIC)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.train.queries.shape[1]


def read_splits(folder: Path) -> Splits:
    """All splits of a folder, in float32.

    Raises:
        OSError: a file is missing.
        ValueError: one holds no array, or the shapes do not fit each other.
    """
    train, val, test = (
        Pairs(*(_rows(folder / f"{split}_{side}.npy") for side in "qd")) for split in _SPLITS
    )
    _check_shapes(train, val, test)
    return Splits(
        train=train,
        val=val,
        test=test,
        labels=_labels(folder),
        digest=content_digest(folder),
        states=_states(folder),
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
            rows = np.load(folder / f"{split}_{side}.npy", allow_pickle=False)
            known.update(np.ascontiguousarray(rows).tobytes())
    return known.hexdigest()


def _check_shapes(*parts: Pairs) -> None:
    for split, pairs in zip(_SPLITS, parts, strict=True):
        queries, documents = pairs.queries.shape, pairs.documents.shape
        if len(queries) != 2 or queries != documents or queries[1] != parts[0].queries.shape[1]:
            raise ValueError(
                f"expected {split}_q and {split}_d of one shape (pairs, width), as wide as "
                f"train_q, got {tuple(queries)} and {tuple(documents)}"
            )


def _rows(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False)).float()


def _states(folder: Path) -> dict[str, Tensor]:
    paths = {split: folder / f"{split}_states.npy" for split in ("train", "test")}
    if not all(path.exists() for path in paths.values()):
        return {}
    return {split: _rows(path) for split, path in paths.items()}


def _labels(folder: Path) -> dict[str, list[str]]:
    paths = {split: folder / f"{split}_meta.json" for split in ("train", "test")}
    if not all(path.exists() for path in paths.values()):
        return {}
    return {split: json.loads(path.read_text())["labels"] for split, path in paths.items()}
