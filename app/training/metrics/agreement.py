"""Agreement of full and reduced cosines: Spearman's correlation, everywhere and nearby."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from app.training.metrics.search import paired_cosines, similarities


def rank_agreement(
    full_queries: Tensor,
    full_docs: Tensor,
    reduced_queries: Tensor,
    reduced_docs: Tensor,
    *,
    count: int = 200_000,
    seed: int = 0,
) -> float:
    """Spearman's correlation of full and reduced cosines over random (query, document) pairs: rho.

    `rho = corr(rank(cos_full), rank(cos_reduced))`, equal values sharing their mean rank; 0 when
    all cosines of one side are equal.

    Shape: full (queries, input_size) and (docs, input_size); reduced (…, n_components).
    """
    random = np.random.default_rng(seed)
    row = torch.from_numpy(random.integers(len(full_queries), size=count))
    column = torch.from_numpy(random.integers(len(full_docs), size=count))
    full = paired_cosines(full_queries, full_docs, row, column)
    reduced = paired_cosines(reduced_queries, reduced_docs, row, column)
    return float(_spearman(full[None], reduced[None]))


def local_rank_agreement(
    full_queries: Tensor,
    full_docs: Tensor,
    reduced_queries: Tensor,
    reduced_docs: Tensor,
    *,
    k: int = 100,
) -> float:
    """Mean over queries of Spearman's correlation inside the k nearest at full size: rhoL.

    `rhoL = mean_q corr(rank(cos_full(q, d)), rank(cos_reduced(q, d)))` for d in `N_k(q; full)`;
    of fewer than k documents, all are taken.

    Shape: full (queries, input_size) and (docs, input_size); reduced (…, n_components).
    """
    length = min(k, len(full_docs))
    found = []
    reduced = similarities(reduced_queries, reduced_docs)
    for before, after in zip(similarities(full_queries, full_docs), reduced, strict=True):
        nearest = before.topk(length)
        found.append(_spearman(nearest.values, after.gather(1, nearest.indices)))
    return float(torch.cat(found).mean())


def _spearman(left: Tensor, right: Tensor) -> Tensor:
    """Spearman's correlation of each row of two matrices; (rows, values) each, returns (rows,)."""
    ranks = [_mean_ranks(values) for values in (left, right)]
    a, b = (rank - rank.mean(dim=1, keepdim=True) for rank in ranks)
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(1e-300), 0.0)


def _mean_ranks(values: Tensor) -> Tensor:
    """Place of each value in its row, from 0; equal values share the mean of theirs."""
    ordered = values.contiguous().sort(dim=1).values
    first = torch.searchsorted(ordered, values.contiguous())
    behind = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (first + behind - 1).double() / 2
