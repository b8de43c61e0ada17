"""Task: where a query finds its own document."""

from __future__ import annotations

import torch
from torch import Tensor

from app.training.metrics.search import similarities


def own_ranks(queries: Tensor, docs: Tensor, own: Tensor) -> Tensor:
    """Rank of each query's own document among all documents, 1 for the nearest.

    `rank_q = |{d : cos(q, d) ≥ cos(q, own_q)}|`. Ties, and cosines that are no number, count
    against the query: a layer that maps everything to one point must not look perfect.

    Args:
        queries: vectors, all reduced or all full.
        docs: the corpus, of the same width.
        own: row of the own document in docs, one for each query.

    Shape: queries (queries, width), docs (docs, width), own (queries,); returns (queries,), int64.
    """
    ranks = []
    done = 0
    for cosines in similarities(queries, docs):
        columns = own[done : done + len(cosines), None]
        done += len(cosines)
        ranks.append((~(cosines < cosines.gather(1, columns))).sum(dim=1))
    return torch.cat(ranks)


def mean_reciprocal_rank(ranks: Tensor) -> float:
    """`mean_q 1 / rank_q`, without a cut-off; 1 when every own document comes first.

    Shape: ranks (queries,), from `own_ranks`.
    """
    return float(ranks.double().reciprocal().mean())


def recall_at(ranks: Tensor, k: int) -> float:
    """`mean_q [rank_q ≤ k]`: the share of queries whose own document is among the first k.

    Shape: ranks (queries,), from `own_ranks`.
    """
    return float((ranks <= k).double().mean())
