"""The figures of held-out pairs, and the sample of queries behind them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from app.training.metrics.neighbours import neighbour_overlap
from app.training.metrics.ranks import mean_reciprocal_rank, own_ranks, recall_at


def quality(
    full_queries: Tensor, full_docs: Tensor, reduced_queries: Tensor, reduced_docs: Tensor
) -> dict[str, float]:
    """Fidelity and task metrics on held-out pairs; row i of the documents is query i's own.

    Queries are `sampled_queries`, the corpus is every document. `nn10` is `neighbour_overlap`;
    `mrr`, `r1` and `r10` are `mean_reciprocal_rank` and `recall_at` 1 and 10 in the reduced space.

    Shape: full (pairs, input_size), reduced (pairs, n_components), pairs at least 10.

    Raises:
        ValueError: the four do not describe the same pairs.
    """
    if len({len(full_queries), len(full_docs), len(reduced_queries), len(reduced_docs)}) > 1:
        raise ValueError("expected as many queries as documents, full and reduced")
    own = sampled_queries(len(full_docs)).to(full_docs.device)
    queries = reduced_queries[own]
    ranks = own_ranks(queries, reduced_docs, own)
    return {
        "nn10": neighbour_overlap(full_queries[own], full_docs, queries, reduced_docs),
        "mrr": mean_reciprocal_rank(ranks),
        "r1": recall_at(ranks, 1),
        "r10": recall_at(ranks, 10),
    }


def sampled_queries(rows: int, *, count: int = 2500, seed: int = 0) -> Tensor:
    """Row numbers of a sample without replacement; every row once when there are not more.

    Shape: returns (min(rows, count),), int64, the same for the same arguments.
    """
    chosen = np.random.default_rng(seed).choice(rows, min(rows, count), replace=False)
    return torch.from_numpy(chosen)
