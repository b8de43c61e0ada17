"""What a reduce may ask for beside its hidden_states, and what that does to the product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.engine import LiveModel
from app.errors import Unacceptable
from app.types import FloatArray
from app.wording import offered


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceOptions:
    """What a reduce may ask for beside its hidden_states.

    Attributes:
        version: a retained version, or "live" for the newest published one that the gate let pass.
        require_version: refuse unless this is the version that would answer.
        normalize: divide each reduced row by its L2 norm (a zero row stays zero).
        dimensions: keep the first components only; before normalize.
        branch: which named branch of the layers; None for the first one.
    """

    version: int | Literal["live"] | None = None
    require_version: int | None = None
    normalize: bool = False
    dimensions: int | None = None
    branch: str | None = None


NO_OPTIONS = ReduceOptions()


def check_dimensions(dimensions: int | None, live: LiveModel) -> None:
    """Refuse `dimensions` where the first components alone mean nothing.

    Raises:
        Unacceptable: `dimensions_unsupported` or `out_of_range`.
    """
    if dimensions is None:
        return
    if not live.config.nested:
        raise Unacceptable(
            "dimensions_unsupported",
            f"model {live.name!r} is not nested: its first components alone are not a reduction; "
            "leave dimensions out",
            pointer="/dimensions",
        )
    if not 1 <= dimensions <= live.snapshot.n_components:
        raise Unacceptable(
            "out_of_range",
            f"expected dimensions from 1 to {live.snapshot.n_components}, the components of model "
            f"{live.name!r}, got {offered(dimensions)}",
            pointer="/dimensions",
        )


def finish(array: FloatArray, options: ReduceOptions) -> FloatArray:
    """Keep the first components, then normalise, as asked.

    Shape: array `(…, n_components)`; returns `(…, dimensions)`.
    """
    if options.dimensions is not None:
        array = np.ascontiguousarray(array[..., : options.dimensions])
    return _unit(array) if options.normalize else array


def _unit(array: FloatArray) -> FloatArray:
    """Rows of length one; a zero row stays zero.

    Divided by the largest entry first: squares of very large or small numbers leave float32.
    """
    largest = np.abs(array).max(axis=-1, keepdims=True)
    scaled = np.divide(array, largest, out=np.zeros_like(array), where=largest > 0)
    norms = np.linalg.norm(scaled, axis=-1, keepdims=True)
    unit: FloatArray = np.divide(scaled, norms, out=scaled, where=norms > 0)
    return unit
