"""An examiner: how well weights do on held-out vectors.

# Note [A corpus of everything]
How far the nearest ten lie depends on how many vectors there are, and so does which weights find
them: among 300 to 700 held-out vectors alone eigenvectors found more than the weights that
followed them (.731 and .717 after 6,000 of the public vectors), among the 5,000 documents of the
test pairs fewer (.620 and .647), and the gate held back what was better for 10,000 vectors. So the
corpus is all that is remembered, the reservoir too; the queries were never trained on.

# Note [Partners among partners]
The partner of a held-out query is ranked among the held-out partners alone. Among everything that
is remembered its rank says no more about damage (a fall of .013 was found in 21 looks of 30 instead
of 24, at 2,000 pairs), and the look costs more. See docs/models.md for the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from app.config import ModelConfig
from app.layers import product
from app.training.metrics import own_ranks, sampled_queries
from app.training.metrics.neighbours import nearest, num_shared
from app.training.observed import ObservedState

# Fewer say nothing: with 32, one neighbour in a hundred is three.
FEWEST = 32
_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """What weights keep, query by query; each None where too little was held out.

    Attributes:
        nn10: share of a vector's nearest ten by full cosines that reduced ones find, (queries,).
        mrr: reciprocal rank of a vector's own partner among all held-out partners, (pairs,).
    """

    nn10: Tensor | None
    mrr: Tensor | None


NO_FIGURES = Figures(None, None)


class Examiner:
    """Takes the figures of any weights of one model on what it remembers at one moment.

    Every vector that was held out is a query, of a pair both sides, or a seeded sample of them is;
    the corpus is all others, see Note [A corpus of everything]. The same for the same vectors.

    Args:
        config: what the layers are.
        observed: what was held out, and the reservoir.
        device: where the layers are.
        queries: most queries.

    Attributes:
        asks_all: whether every vector that was held out is a query.
    """

    def __init__(
        self, config: ModelConfig, observed: ObservedState, device: torch.device, *, queries: int
    ) -> None:
        self._config = config
        self._device = device
        self._held_out = held_out = observed.held_out
        vectors, (_, positives) = held_out.vectors.rows.tensor(), held_out.pairs()
        rows = len(vectors) + len(positives)
        self._most = queries
        self.asks_all = rows <= queries
        self._own = self._sample(rows)
        corpus = (vectors, positives, observed.reservoir.rows.tensor())
        self._corpus = torch.cat(corpus).to(device)

    @cached_property
    def _lists(self) -> Tensor:
        """The queries' neighbours by full cosines."""
        return nearest(self._corpus[self._own], self._corpus, k=_NEIGHBOURS, own=self._own)

    @torch.no_grad()
    def figures(self, tensors: Mapping[str, Tensor]) -> Figures:
        """The figures of weights; none where too little was held out.

        Args:
            tensors: as serving multiplies with them.
        """
        if self._held_out.count < FEWEST:
            return NO_FIGURES
        reduce = product(self._config, tensors)
        reduced = reduce(self._corpus)
        found = nearest(reduced[self._own], reduced, k=_NEIGHBOURS, own=self._own)
        kept = num_shared(self._lists, found).double() / _NEIGHBOURS
        queries, positives = (rows.to(self._device) for rows in self._held_out.pairs())
        mrr = None
        if len(queries) >= FEWEST:
            own = self._sample(len(queries))
            ranks = own_ranks(reduce(queries[own]), reduce(positives), own)
            mrr = ranks.double().reciprocal()
        return Figures(kept, mrr)

    def _sample(self, rows: int) -> Tensor:
        return sampled_queries(rows, count=self._most).to(self._device)
