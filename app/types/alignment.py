"""What two versions of a model have in common: how one does in the other's space, and the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.types.values import FloatArray, Stamp

AlignedBy: TypeAlias = Literal["moments", "reservoir"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Whether a corpus that an earlier version made is still good for queries of this one.

    Attributes:
        version: makes the queries.
        corpus_version: made the corpus: the checkpoint before this one.
        vectors: that the model remembers; they are the corpus.
        queries: of them, whose nearest ten are looked for among all others.
        cosine: mean cosine of what the two versions make of the same vector.
        nn10: share of the nearest ten by the full vectors that are found across the versions.
        nn10_before: the same, with queries of the corpus' own version.
        kept: nn10 in units of nn10_before: at 1, new queries find as much in the old corpus as old
            ones did. None where those found nothing.
    """

    version: int
    corpus_version: int
    vectors: int
    queries: int
    cosine: float
    nn10: float
    nn10_before: float
    kept: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What turns the reduced vectors of one version into the space of another.

    `aligned = reduced @ rotation`, for reduced vectors as rows.

    Shape: rotation (n_components, n_components), float32, orthogonal; it may reflect.

    Attributes:
        stamp: of the version whose vectors are turned.
        to: of the version into whose space.
        aligned_by: what the rotation is computed from: the second moment of every vector that the
            model has seen, or what both versions make of those that it remembers.
        vectors: that the model remembers; the figures are of them.
        queries: of them, whose nearest ten are looked for among all others.
        cosine: mean cosine of what the two versions make of the same vector, as it is.
        cosine_aligned: the same, of the first one's turned.
        nn10: share of the nearest ten by the full vectors that queries of the first version find in
            a corpus of the other, as they are.
        nn10_aligned: the same, of queries turned.
        nn10_own: the same, with queries of the corpus' own version.
    """

    rotation: FloatArray
    stamp: Stamp
    to: Stamp
    aligned_by: AlignedBy
    vectors: int
    queries: int
    cosine: float
    cosine_aligned: float
    nn10: float
    nn10_aligned: float
    nn10_own: float
