"""Exact search by cosine, a few queries at a time.

Note [Exact search in chunks]: no more than `_CHUNK_ENTRIES` similarities exist at once, whatever
the size of the corpus. Rows are divided by their norm here, so callers pass them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from app.training.rows import unit_rows

_CHUNK_ENTRIES = 1 << 23  # float32 similarities at once: 32 MiB


def similarities(queries: Tensor, docs: Tensor) -> Iterator[Tensor]:
    """Cosines of all queries with all documents, in float32, in chunks of queries.

    Shape: queries (queries, width), docs (docs, width); yields (some queries, docs).
    """
    corpus = unit_rows(docs.float())
    for chunk in torch.split(queries, max(1, _CHUNK_ENTRIES // len(docs))):
        yield unit_rows(chunk.float()) @ corpus.mT


def paired_cosines(queries: Tensor, docs: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Cosine of queries[row_i] with docs[column_i], in float32.

    Shape: queries (queries, width), docs (docs, width), row and column (pairs,); returns (pairs,).
    """
    left, right = unit_rows(queries.float()), unit_rows(docs.float())
    found = torch.empty(len(row), device=queries.device)
    size = max(1, _CHUNK_ENTRIES // queries.shape[1])
    for begin in range(0, len(row), size):
        some = slice(begin, begin + size)
        found[some] = (left[row[some]] * right[column[some]]).sum(dim=1)
    return found
