"""Requests that share no product with others: rows that are no vectors, a mask, a branch.

Note [Pieces]
A stack may hold more numbers of a row at once than the row has, so the rows of a request go through
it in pieces of bounded size. Where rows are to keep their bits (Note [Equal bits] in tiling.py),
each goes alone, and at an alignment of torch's own.
"""

from __future__ import annotations

import numpy as np
import torch

from app.engine.batch import Product
from app.engine.out_of_memory import is_out_of_memory
from app.engine.snapshot import Snapshot
from app.engine.tiling import BY_ROW, numbers_held
from app.errors import OutOfMemory
from app.layers import Context
from app.types import Beside, FloatArray


def reduce_alone(snapshot: Snapshot, rows: FloatArray, beside: Beside) -> Product:
    """Reduce the rows of one request, in pieces.

    Shape: rows `(rows, *input_shape)`; its product has `(rows, *output_shape)`.

    Raises:
        OutOfMemory: a piece had no room.
        Unacceptable: the layers cannot use the mask.
    """
    step = (
        1 if snapshot.tiling is BY_ROW else numbers_held(snapshot.widest * _stretch(snapshot, rows))
    )
    mask = None if beside.mask is None else beside.mask.reshape(len(rows), -1)
    try:
        pieces = [
            _piece(
                snapshot,
                rows[begin : begin + step],
                None if mask is None else mask[begin : begin + step],
                beside.branch,
            )
            for begin in range(0, len(rows), step)
        ]
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise OutOfMemory() from error
        raise
    array = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    return Product(array, bool(np.isfinite(array).all()))


def cost(snapshot: Snapshot, rows: FloatArray) -> int:
    """About how many multiply-adds these rows cost."""
    return len(rows) * snapshot.multiply_adds * _stretch(snapshot, rows)


def _stretch(snapshot: Snapshot, rows: FloatArray) -> int:
    """How many times a row is what the config says, where lengths may be any."""
    lengths = zip(rows.shape[1:], snapshot.input_shape, strict=True)
    return int(np.prod([length for length, declared in lengths if declared is None]))


def _piece(
    snapshot: Snapshot, rows: FloatArray, mask: FloatArray | None, branch: str | None
) -> FloatArray:
    sent = torch.tensor(rows)
    if mask is None and branch is None:
        reduced = snapshot.multiply(sent)
    else:
        tokens = None if mask is None else torch.tensor(mask, device=snapshot.device).bool()
        reduced = snapshot.multiply_within(sent, Context(mask=tokens, branch=branch))
    array: FloatArray = reduced.numpy()
    return array
