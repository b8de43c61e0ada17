"""The bad-input catalogue, rows 31 to 109: what is sent, and what must come back."""

from tests.security.catalogue import (
    artefacts,
    json_values,
    media,
    shapes,
    steps,
    training,
    values,
)
from tests.security.catalogue.request import GOLDEN, Request, Row

ROWS: list[Row] = [
    row
    for section in (media, json_values, shapes, values, training, steps, artefacts)
    for row in section.rows()
]

__all__ = ["GOLDEN", "ROWS", "Request", "Row"]
