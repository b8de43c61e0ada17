"""No constraint."""

from __future__ import annotations

from app.layers.parametrizations.parametrization import PARAMETRIZATIONS, Parametrization


@PARAMETRIZATIONS.register("none")
class Unconstrained(Parametrization):
    """The plain weight; nothing is kept."""
