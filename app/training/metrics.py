"""Quality: what a reduction keeps. Exact search by cosine, in float32.

Rows are divided by their norm here, before and after reduction, so callers pass them as they are.
Note [Exact search in chunks]: queries are searched a few at a time, so that no more than
`_CHUNK_ENTRIES` similarities exist at once, whatever the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from app.training.rows import unit_rows

_CHUNK_ENTRIES = 1 << 23  # float32 similarities at once: 32 MiB


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


def neighbour_overlap(
    full_queries: Tensor,
    full_docs: Tensor,
    reduced_queries: Tensor,
    reduced_docs: Tensor,
    *,
    k: int = 10,
) -> float:
    """Share of the nearest documents that stay the nearest under reduction.

    `mean_q |N_k(q; full) ∩ N_k(q; reduced)| / k`, with `N_k` the k documents of largest cosine;
    1 when every list keeps its members, k / documents when the reduced ones are random. Which of
    several equally near documents is in a list is left open.

    Args:
        full_queries: before reduction.
        full_docs: the corpus before reduction.
        reduced_queries: the same rows as full_queries, reduced.
        reduced_docs: the same rows as full_docs, reduced.
        k: length of the lists.

    Shape: full (queries, input_size) and (docs, input_size); reduced (…, n_components).

    Raises:
        ValueError: full and reduced differ in rows, or there are fewer than k documents.
    """
    if (len(full_queries), len(full_docs)) != (len(reduced_queries), len(reduced_docs)):
        raise ValueError("expected as many reduced rows as full ones")
    if not 1 <= k <= len(full_docs):
        raise ValueError(f"expected k from 1 to the {len(full_docs)} documents, got {k}")
    kept = 0
    reduced = _similarities(reduced_queries, reduced_docs)
    for before, after in zip(_similarities(full_queries, full_docs), reduced, strict=True):
        nearest, still = before.topk(k).indices, after.topk(k).indices
        kept += int((nearest[:, :, None] == still[:, None, :]).sum())
    return kept / (k * len(full_queries))


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
    for similarities in _similarities(queries, docs):
        columns = own[done : done + len(similarities), None]
        done += len(similarities)
        ranks.append((~(similarities < similarities.gather(1, columns))).sum(dim=1))
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


def _similarities(queries: Tensor, docs: Tensor) -> Iterator[Tensor]:
    corpus = unit_rows(docs.float())
    for chunk in torch.split(queries, max(1, _CHUNK_ENTRIES // len(docs))):
        yield unit_rows(chunk.float()) @ corpus.mT
