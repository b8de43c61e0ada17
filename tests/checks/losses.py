"""What every registered loss promises; a test class inherits these checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from app.config import Component, ModelConfig
from app.errors import TooLarge
from app.layers import build
from app.training.batch import TensorBatch
from app.training.losses import LOSSES, Loss, build_loss, check_batch
from app.types import Batch

INPUT_SIZE, N_COMPONENTS = 6, 3


def make_layer(*, bias: bool = True) -> nn.Module:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS, "bias": bias}
    config = ModelConfig.model_validate({"input_size": INPUT_SIZE, "layers": [layer]})
    return build(config, generator=torch.Generator().manual_seed(3)).double()


def make_batch(loss: Loss, rows: Tensor, weights: Tensor | None = None) -> TensorBatch:
    """The rows with what the loss needs beside them; targets depend on the row alone."""
    targets = torch.cos(rows[:, :N_COMPONENTS]) if "targets" in loss.needs else None
    return TensorBatch(hidden_states=rows, targets=targets, sample_weights=weights)


def value_of(loss: Loss, rows: Tensor, weights: Tensor | None = None) -> Tensor:
    layer = make_layer()
    return loss(make_batch(loss, rows, weights), layer(rows), layer)


def bound_of(name: str) -> int | None:
    return build_loss(Component(type=name)).max_rows


def random_rows(rows: int) -> Tensor:
    values = np.random.default_rng(7).standard_normal((rows, INPUT_SIZE))
    return torch.tensor(values, dtype=torch.float64)


DEGENERATE = {
    "one row": random_rows(1),
    "zeros": torch.zeros(4, INPUT_SIZE, dtype=torch.float64),
    "one zero row": random_rows(4) * torch.tensor([[1.0], [0.0], [1.0], [1.0]]),
    "constant": torch.ones(4, INPUT_SIZE, dtype=torch.float64),
    "rank 1": torch.outer(torch.arange(1.0, 5.0), torch.arange(1.0, 1.0 + INPUT_SIZE)).double(),
    "duplicated rows": random_rows(2).repeat(2, 1),
}


class LossChecks:
    """Inherit to run every check on every registered loss."""

    @pytest.fixture(params=list(LOSSES))
    def loss(self, request: pytest.FixtureRequest) -> Loss:
        return build_loss(Component(type=request.param))

    @pytest.mark.parametrize("rows", DEGENERATE.values(), ids=DEGENERATE.keys())
    def test_value_and_gradient_are_finite_on_degenerate_rows(
        self, loss: Loss, rows: Tensor
    ) -> None:
        layer = make_layer(bias=False)
        value = loss(make_batch(loss, rows), layer(rows), layer)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        gradients = [p.grad for p in layer.parameters() if p.grad is not None]
        assert value.shape == ()
        assert gradients
        assert all(bool(t.isfinite().all()) for t in [value, *gradients])

    def test_gradient_equals_finite_differences(self, loss: Loss) -> None:
        layer, rows = make_layer(), random_rows(5)
        batch = make_batch(loss, rows, torch.rand(5, dtype=torch.float64))
        # gradcheck moves the parameter in place, so that the layer sees it.
        assert torch.autograd.gradcheck(
            lambda *_: loss(batch, layer(rows), layer), tuple(layer.parameters())
        )

    def test_weights_of_one_equal_no_weights(self, loss: Loss) -> None:
        rows = random_rows(5)
        # float64 sums in another order
        assert torch.allclose(value_of(loss, rows, torch.ones(5)), value_of(loss, rows), rtol=1e-12)

    def test_weight_two_equals_the_row_twice(self, loss: Loss) -> None:
        rows = random_rows(3)
        twice = value_of(loss, torch.cat([rows, rows[:1]]))
        weighted = value_of(loss, rows, torch.tensor([2.0, 1.0, 1.0]))
        assert torch.allclose(weighted, twice, rtol=1e-12)  # float64 sums in another order

    def test_weight_zero_equals_no_row(self, loss: Loss) -> None:
        rows = random_rows(3)
        weighted = value_of(loss, rows, torch.tensor([0.0, 1.0, 1.0]))
        assert torch.allclose(weighted, value_of(loss, rows[1:]), rtol=1e-12)  # sums, as above

    def test_order_of_rows_does_not_matter(self, loss: Loss) -> None:
        rows = random_rows(5)
        assert torch.allclose(value_of(loss, rows.flip(0)), value_of(loss, rows), rtol=1e-12)

    def test_rows_are_bounded_exactly_where_memory_grows_with_their_square(
        self, loss: Loss
    ) -> None:
        rows, kept = random_rows(64), list[int]()

        def keep(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            value_of(loss, rows, torch.rand(64, dtype=torch.float64))
        assert (max(kept) > rows.numel()) == (loss.max_rows is not None)

    @pytest.mark.parametrize("name", [name for name in LOSSES if bound_of(name) is not None])
    def test_one_row_more_than_the_bound_is_refused(self, name: str) -> None:
        loss, most = build_loss(Component(type=name)), bound_of(name) or 0
        rows = np.ones((most + 1, INPUT_SIZE), np.float32)
        check_batch(loss, Batch(hidden_states=rows[:-1]), N_COMPONENTS)
        with pytest.raises(TooLarge, match=f"at most {most}, got {most + 1}") as refusal:
            check_batch(loss, Batch(hidden_states=rows), N_COMPONENTS)
        assert (refusal.value.code, refusal.value.pointer) == ("too_many_rows", "/hidden_states")

    def test_input_is_not_modified(self, loss: Loss) -> None:
        rows, weights = random_rows(4), torch.rand(4, dtype=torch.float64)
        batch = make_batch(loss, rows, weights)
        given = [t for t in (batch.hidden_states, batch.targets, weights) if t is not None]
        before = [tensor.clone() for tensor in given]
        layer = make_layer()
        loss(batch, layer(rows), layer).backward()  # type: ignore[no-untyped-call]  # as above
        assert all(map(torch.equal, given, before))

    def test_is_a_frozen_value(self, loss: Loss) -> None:
        assert loss == type(loss)()
        assert hash(loss) == hash(type(loss)())

    def test_docstring_has_formula_and_shapes(self, loss: Loss) -> None:
        text = type(loss).__doc__ or ""
        assert "`L = " in text
        assert "Shape:" in text
