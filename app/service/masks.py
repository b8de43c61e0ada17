"""The mask of a request: which tokens count."""

from __future__ import annotations

from app.engine import Snapshot
from app.errors import Unacceptable
from app.types import FloatArray, first_outside


def check_mask(
    mask: FloatArray | None, hidden_states: FloatArray, form: Snapshot, model: str
) -> None:
    """Refuse a mask that does not say of every token whether it counts.

    Shape: mask (…, length), hidden_states (…, length, …).

    Args:
        mask: as the request has it; without one, every token counts.
        hidden_states: whose rows have the right shape.
        form: says what a row is, and whether any layer looks at a mask.
        model: its name, for the message.

    Raises:
        Unacceptable: `field_not_used` or `mask_invalid`.
    """
    if mask is None:
        return
    if not form.uses_mask:
        raise Unacceptable(
            "field_not_used",
            f"no layer of model {model!r} uses a mask; leave it out",
            pointer="/mask",
        )
    expected = hidden_states.shape[: hidden_states.ndim - len(form.input_shape) + 1]
    place = ""
    if mask.shape != expected:
        fault = f"got shape {list(mask.shape)}"
    elif not ((mask == 0) | (mask == 1)).all():
        place = first_outside((mask == 0) | (mask == 1))
        fault = f"got another number at mask{place} (the first one)"
    elif not mask.any(axis=-1).all():
        place = first_outside(mask.any(axis=-1))
        fault = f"got none that counts at mask{place}: leave that row out"
    else:
        return
    raise Unacceptable(
        "mask_invalid",
        f"expected a mask of shape {list(expected)}, 1 for each token that counts and 0 for each "
        f"other one; {fault}",
        pointer=f"/mask{place}",
    )
