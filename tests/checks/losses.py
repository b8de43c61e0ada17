"""What every registered loss promises; a test class inherits these checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from app.config import Component, ModelConfig
from app.errors import TooLarge
from app.layers import build
from app.training.batch import TensorBatch
from app.training.losses import LOSSES, Loss, build_loss, check_batch, value_of
from app.types import Batch

INPUT_SIZE, N_COMPONENTS = 6, 3

# Every member, with the arguments that make it another loss.
ARGUMENTS: tuple[Mapping[str, Any], ...] = (
    *({"type": name} for name in LOSSES if name not in ("nested", "weighted")),
    {"type": "triplet", "distance": "euclidean", "margin": 1},
    {"type": "triplet", "mining": "batch_hard"},
    {"type": "triplet", "mining": "batch_hard", "distance": "euclidean"},
    {"type": "cross_entropy", "label_smoothing": 0.1},
    {"type": "distil", "temperature": 0.5},
    {"type": "contrastive", "scale": 5},
    {"type": "supervised_contrastive", "temperature": 1},
    {"type": "decorrelation", "redundancy": 1},
    {"type": "nested", "loss": "distil", "dimensions": [1, 2, 3]},
    {"type": "nested", "loss": "mse", "dimensions": [1, 3], "weights": [1, 2]},
    {"type": "nested", "loss": "reconstruction", "dimensions": [1, 3]},
    {"type": "nested", "loss": "contrastive", "dimensions": [2, 3]},
    {"type": "nested", "loss": {"type": "cross_entropy"}, "dimensions": [2, 3]},
    {"type": "weighted", "losses": ["distil", {"type": "contrastive", "weight": 0.3}]},
    {"type": "weighted", "losses": ["mse", {"type": "nested", "loss": "mse", "dimensions": [1]}]},
    {"type": "weighted", "losses": ["mse", "relation", "cross_entropy"]},
)


def loss_of(arguments: Mapping[str, Any]) -> Loss:
    return build_loss(Component.model_validate(arguments))


def name_of(arguments: Mapping[str, Any]) -> str:
    return "-".join(str(value) for value in arguments.values()).replace(" ", "")


def make_config() -> ModelConfig:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS}
    return ModelConfig.model_validate({"input_size": INPUT_SIZE, "layers": [layer]})


def make_layer(*, bias: bool = True) -> nn.Module:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS, "bias": bias}
    config = ModelConfig.model_validate({"input_size": INPUT_SIZE, "layers": [layer]})
    return build(config, generator=torch.Generator().manual_seed(3)).double()


def make_batch(loss: Loss, rows: Tensor, weights: Tensor | None = None) -> TensorBatch:
    """The rows with all that the loss can use; it depends on the row alone."""
    beside = {
        "targets": torch.cos(rows[:, :N_COMPONENTS]),
        "positives": rows + 0.3 * torch.cos(3 * rows),
        "negatives": torch.sin(5 * rows) + 0.1,
        "labels": (3 * rows[:, 0]).round().long().remainder(2),
    }
    used: dict[str, Any] = {
        name: beside[name] for name in beside.keys() & (loss.needs | loss.accepts)
    }
    return replace(TensorBatch(hidden_states=rows, sample_weights=weights), **used)


def value_for(loss: Loss, rows: Tensor, weights: Tensor | None = None) -> Tensor:
    return value_of(loss, make_batch(loss, rows, weights), make_layer())


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

    @pytest.fixture(params=ARGUMENTS, ids=name_of)
    def loss(self, request: pytest.FixtureRequest) -> Loss:
        return loss_of(request.param)

    @pytest.mark.parametrize("rows", DEGENERATE.values(), ids=DEGENERATE.keys())
    def test_value_and_gradient_are_finite_on_degenerate_rows(
        self, loss: Loss, rows: Tensor
    ) -> None:
        layer = make_layer(bias=False)
        value = value_of(loss, make_batch(loss, rows), layer)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        gradients = [p.grad for p in layer.parameters() if p.grad is not None]
        assert value.shape == ()
        assert gradients
        # A step of this size is none that a guard or a clip would have to undo.
        assert all(bool((t.abs() < 1e4).all()) for t in [value, *gradients])

    def test_gradient_equals_finite_differences(self, loss: Loss) -> None:
        layer = make_layer()
        batch = make_batch(loss, random_rows(6), torch.rand(6, dtype=torch.float64))
        # gradcheck moves the parameter in place, so that the layer sees it.
        assert torch.autograd.gradcheck(
            lambda *_: value_of(loss, batch, layer), tuple(layer.parameters())
        )

    def test_weights_of_one_equal_no_weights(self, loss: Loss) -> None:
        rows = random_rows(6)
        # float64 sums in another order
        plain, ones = value_for(loss, rows), value_for(loss, rows, torch.ones(6))
        assert torch.allclose(ones, plain, rtol=1e-12)

    def test_weight_two_equals_the_row_twice(self, loss: Loss) -> None:
        rows = random_rows(6)
        twice = value_for(loss, torch.cat([rows, rows[:1]]))
        weighted = value_for(loss, rows, torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
        assert torch.allclose(weighted, twice, rtol=1e-6)  # the rows' weights are float32

    def test_weight_zero_equals_no_row(self, loss: Loss) -> None:
        rows = random_rows(6)
        weighted = value_for(loss, rows, torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
        assert torch.allclose(weighted, value_for(loss, rows[1:]), rtol=1e-6)  # as above

    def test_order_of_rows_does_not_matter(self, loss: Loss) -> None:
        rows = random_rows(6)
        assert torch.allclose(value_for(loss, rows.flip(0)), value_for(loss, rows), rtol=1e-12)

    def test_rows_are_bounded_exactly_where_memory_grows_with_their_square(
        self, loss: Loss
    ) -> None:
        rows, kept = random_rows(64), list[int]()

        def keep(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            value_for(loss, rows, torch.rand(64, dtype=torch.float64))
        assert (max(kept) > rows.numel()) == (loss.max_rows is not None)

    def test_one_row_more_than_the_bound_is_refused(self, loss: Loss) -> None:
        rows = np.ones(((loss.max_rows or 0) + 1, INPUT_SIZE), np.float32)
        if loss.max_rows is None:
            return
        with pytest.raises(TooLarge, match=f"at most {len(rows) - 1}, got {len(rows)}") as refusal:
            check_batch(loss, Batch(hidden_states=rows), make_config())
        assert (refusal.value.code, refusal.value.pointer) == ("too_many_rows", "/hidden_states")

    def test_input_is_not_modified(self, loss: Loss) -> None:
        batch = make_batch(loss, random_rows(4), torch.rand(4, dtype=torch.float64))
        before = {name: tensor.clone() for name, tensor in batch.tensors().items()}
        value_of(loss, batch, make_layer()).backward()  # type: ignore[no-untyped-call]  # as above
        assert all(torch.equal(batch.tensors()[name], value) for name, value in before.items())

    @pytest.mark.parametrize("arguments", ARGUMENTS, ids=name_of)
    def test_is_a_frozen_value(self, arguments: Mapping[str, Any]) -> None:
        assert loss_of(arguments) == loss_of(arguments)
        assert hash(loss_of(arguments)) == hash(loss_of(arguments))

    def test_docstring_has_formula_shapes_and_source(self, loss: Loss) -> None:
        text = type(loss).__doc__ or ""
        assert "`L = " in text
        assert "Shape:" in text
        assert re.search(r"^ *Source: \w", text, re.MULTILINE)
