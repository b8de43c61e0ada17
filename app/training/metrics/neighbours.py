"""Fidelity: which neighbours a reduction keeps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.training.metrics.search import similarities


def neighbour_overlap(
    full_queries: Tensor,
    full_docs: Tensor,
    reduced_queries: Tensor,
    reduced_docs: Tensor,
    *,
    k: int = 10,
    own: Tensor | None = None,
) -> float:
    """Share of the nearest documents that stay the nearest under reduction.

    `mean_q |N_k(q; full) ∩ N_k(q; reduced)| / k`, with `N_k` the k documents of largest cosine;
    1 when every list keeps its members, k / documents when the reduced ones are random. Which of
    several equally near documents is in a list is left open.

    Takes what `kept_neighbours` takes, and raises what that raises.
    """
    kept = kept_neighbours(full_queries, full_docs, reduced_queries, reduced_docs, k=k, own=own)
    return int(kept.sum()) / (k * len(kept))


def kept_neighbours(
    full_queries: Tensor,
    full_docs: Tensor,
    reduced_queries: Tensor,
    reduced_docs: Tensor,
    *,
    k: int = 10,
    own: Tensor | None = None,
) -> Tensor:
    """How many of each query's nearest documents stay the nearest, `|N_k(full) ∩ N_k(reduced)|`.

    Args:
        full_queries: before reduction.
        full_docs: the corpus before reduction.
        reduced_queries: the same rows as full_queries, reduced.
        reduced_docs: the same rows as full_docs, reduced.
        k: length of the lists.
        own: row of a document that is no neighbour of the query, one for each query: itself, where
            the queries are documents.

    Shape: full (queries, input_size) and (docs, input_size); reduced (…, n_components); own
    (queries,); returns (queries,), int64, each from 0 to k.

    Raises:
        ValueError: full and reduced differ in rows, or there are fewer than k documents.
    """
    if (len(full_queries), len(full_docs)) != (len(reduced_queries), len(reduced_docs)):
        raise ValueError("expected as many reduced rows as full ones")
    others = len(full_docs) - (own is not None)
    if not 1 <= k <= others:
        raise ValueError(f"expected k from 1 to the {others} documents, got {k}")
    before = nearest(full_queries, full_docs, k=k, own=own)
    return num_shared(before, nearest(reduced_queries, reduced_docs, k=k, own=own))


def nearest(queries: Tensor, docs: Tensor, *, k: int = 10, own: Tensor | None = None) -> Tensor:
    """Rows of the k documents of largest cosine to each query.

    Args:
        queries: vectors, all reduced or all full.
        docs: the corpus, of the same width; more than k documents.
        k: length of the lists.
        own: row of a document that is no neighbour of the query, one for each query.

    Shape: queries (queries, width), docs (docs, width), own (queries,); returns (queries, k),
    int64, the nearest first.
    """
    lists, done = [], 0
    for cosines in similarities(queries, docs):
        if own is not None:
            cosines.scatter_(1, own[done : done + len(cosines), None], -math.inf)
        done += len(cosines)
        lists.append(cosines.topk(k).indices)
    return torch.cat(lists)


def num_shared(lists: Tensor, others: Tensor) -> Tensor:
    """How many members each list has in common with the one beside it, `|A_q ∩ B_q|`.

    Shape: lists (queries, k), others (queries, l), no member twice in a list; returns (queries,).
    """
    return (lists[:, :, None] == others[:, None, :]).sum(dim=(1, 2))
