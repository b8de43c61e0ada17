"""Comparison: what reductions of one's own embeddings keep, by method and dimension."""

from app.comparison.comparison import Comparison, Row, compare
from app.comparison.held_out import Division, divide
from app.comparison.plot import check_plot, write_plot
from app.comparison.reductions import REDUCTIONS
from app.comparison.text import bars, note, table

__all__ = [
    "REDUCTIONS",
    "Comparison",
    "Division",
    "Row",
    "bars",
    "check_plot",
    "compare",
    "divide",
    "note",
    "table",
    "write_plot",
]
