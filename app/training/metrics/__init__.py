"""Quality: what a reduction keeps. Exact search by cosine, in float32."""

from app.training.metrics.agreement import local_rank_agreement, rank_agreement
from app.training.metrics.energy import captured_energy
from app.training.metrics.interval import mean_interval
from app.training.metrics.neighbours import kept_neighbours, neighbour_overlap
from app.training.metrics.pairs import quality, sampled_queries
from app.training.metrics.ranks import mean_reciprocal_rank, own_ranks, recall_at

__all__ = [
    "captured_energy",
    "kept_neighbours",
    "local_rank_agreement",
    "mean_interval",
    "mean_reciprocal_rank",
    "neighbour_overlap",
    "own_ranks",
    "quality",
    "rank_agreement",
    "recall_at",
    "sampled_queries",
]
