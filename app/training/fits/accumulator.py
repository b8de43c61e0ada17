"""The one pass over a stream: moments that grow with no batch."""

from __future__ import annotations

import torch
from torch import Tensor

from app.config import Component, ModelConfig
from app.errors import ConfigInvalid, Unacceptable
from app.training.fits.fit_method import FitMethod, read_method
from app.training.observed import Moments, OuterSum
from app.training.rows import unit_rows
from app.types import Batch, FloatArray, SeenMoments
from app.wording import offered, some

# A second moment of this width is 256 MiB in float32; its eigenvectors take minutes.
MAX_WIDTH = 8192
_LINEAR = ("QRReduction", "Linear")


class Accumulator:
    """Sums over the vectors of a fit, batch by batch; any batch size from one row.

    Memory is that of the sums, whatever comes. One thread at a time may use it.

    Args:
        config: of the model that is to be fitted.
        component: the method, as the request names it.

    Raises:
        ConfigInvalid: there is no such method, or this model cannot be fitted by it.
    """

    def __init__(self, config: ModelConfig, component: Component) -> None:
        method = read_method(component)
        check_fittable(config, method)
        self._needs_pairs = method.needs_pairs
        self._is_unit = is_normalized(config, method)
        self._moments = Moments.empty(config.input_size)

    def add(self, batch: Batch) -> None:
        """Count a batch in.

        Shape: hidden_states (…, width); positives the same or absent. Finite: it was checked.

        Raises:
            Unacceptable: positives of another shape; `missing_field` where the method needs them.
        """
        positives = batch.positives
        if positives is None and self._needs_pairs:
            raise Unacceptable(
                "missing_field",
                "this method learns from pairs; send positives with the batch, or choose another",
                pointer="/positives",
            )
        if positives is not None and positives.shape != batch.hidden_states.shape:
            raise Unacceptable(
                "shape_mismatch",
                "expected positives of the same shape as hidden_states; send one for each row",
                pointer="/positives",
            )
        rows = self._rows(batch.hidden_states)
        if positives is None:
            self._moments = self._moments.extended(rows)
            return
        others = self._rows(positives)
        self._moments = self._moments.extended(torch.cat([rows, others]), (rows - others) / 2)

    def moments(self) -> SeenMoments:
        """What was seen so far.

        Raises:
            Unacceptable: nothing was, or numbers so large that their squares overflow.
        """
        seen = self._moments
        if not seen.count:
            raise Unacceptable(
                "empty_batch", "expected at least one row, got none", pointer="/hidden_states"
            )
        pairs = seen.pairs.total() if seen.pairs.count else None
        second, total = seen.second.total(), seen.sum.tensor()[0]
        if not all(torch.isfinite(t).all() for t in (second, total, pairs) if t is not None):
            raise Unacceptable(
                "out_of_range",
                "the sums of these vectors overflow; scale them down, or ask for normalize",
                pointer="/hidden_states",
            )
        return SeenMoments(
            vectors=seen.count,
            total=total.numpy(),
            second=second.numpy(),
            num_pairs=seen.pairs.count,
            pairs=None if pairs is None else pairs.numpy(),
        )

    def _rows(self, array: FloatArray) -> Tensor:
        rows = torch.tensor(array, dtype=torch.float32).reshape(-1, array.shape[-1])
        return unit_rows(rows) if self._is_unit else rows


def check_fittable(config: ModelConfig, method: FitMethod) -> None:
    """Refuse a model whose weights no moments determine.

    Raises:
        ConfigInvalid: other layers than one linear one, too wide a one, or no bias to centre by.
    """
    layer = config.layers[0]
    if config.input_shape or len(config.layers) > 1 or layer.type not in _LINEAR:
        raise ConfigInvalid(
            f"expected a model of one layer, {' or '.join(_LINEAR)}, whose weights can be computed "
            f"from data, got {some(offered(other.type) for other in config.layers)}; train this "
            "one instead",
            pointer="/method",
        )
    if config.input_size > MAX_WIDTH:
        raise ConfigInvalid(
            f"expected an input_size of at most {MAX_WIDTH} for a fit, whose memory grows with its "
            f"square, got {config.input_size}; train this model instead",
            pointer="/method",
        )
    has_bias = layer.arguments.get("bias", layer.type == "Linear")
    if method.center and not has_bias:
        raise ConfigInvalid(
            'centring subtracts the mean by the layer\'s bias: expected a layer with "bias": true, '
            "got one without; make such a model, or fit without center",
            pointer="/method/center",
        )


def is_normalized(config: ModelConfig, method: FitMethod) -> bool:
    """Whether the vectors are divided by their length: a `distil` model observes unit vectors."""
    return method.normalize or config.recipe == "distil"


def observed_moments(moments: SeenMoments) -> Moments:
    """The same moments as a model observes them."""
    empty = Moments.empty(len(moments.total))
    pairs = empty.pairs
    if moments.pairs is not None:
        pairs = OuterSum.of(torch.tensor(moments.pairs), moments.num_pairs)
    return Moments(
        sum=empty.sum.of(torch.tensor(moments.total).reshape(1, -1)),
        second=OuterSum.of(torch.tensor(moments.second), moments.vectors),
        pairs=pairs,
    )
