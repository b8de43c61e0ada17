"""Forward-mode derivatives of every kind of layer, against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from app.config import ModelConfig
from app.errors import Unacceptable
from app.layers import NO_CONTEXT, Context, build, folded, forward, plain
from app.training.derivative import directional_derivative
from app.training.evaluation import evaluate
from app.types import Batch, Evaluate
from tests.checks import kinds

MOVING = [name for name, example in kinds.EXAMPLES.items() if not example.has_ids]
IDS = [name for name, example in kinds.EXAMPLES.items() if example.has_ids]


def served(config: ModelConfig) -> nn.Module:
    return plain(config, folded(build(config))).double()


@pytest.mark.parametrize("name", ["LSTM", "RNN", "GRU", "MultiheadAttention"])
def test_fused_kernels_of_float32_are_gone_around(name: str) -> None:
    layer, rows = served(kinds.config(name)), kinds.rows_of(name, 3)
    _, exact = directional_derivative(layer, rows.double(), torch.cos(rows).double(), NO_CONTEXT)
    _, moved = directional_derivative(layer.float(), rows, torch.cos(rows), NO_CONTEXT)
    assert moved.dtype == torch.float32
    assert torch.allclose(moved.double(), exact, atol=1e-5)  # float32


@pytest.mark.parametrize("name", MOVING)
def test_derivative_equals_finite_differences(name: str) -> None:
    layer, rows = served(kinds.config(name)), kinds.rows_of(name, 3).double()
    tangents = torch.cos(3 * rows)
    reduced, moved = directional_derivative(layer, rows, tangents, NO_CONTEXT)
    there, back = (forward(layer, rows + step * tangents, NO_CONTEXT) for step in (1e-6, -1e-6))
    assert torch.allclose(moved, (there - back) / 2e-6, atol=1e-7)  # float64, step of 1e-6
    assert torch.allclose(reduced, forward(layer, rows, NO_CONTEXT), atol=1e-12)


def test_a_masked_token_moves_nothing() -> None:
    layer, rows = served(kinds.config("TransformerEncoderLayer")), torch.randn(2, 4, 4).double()
    mask = torch.tensor([[True, True, False, False]] * 2)
    tangents = torch.zeros_like(rows)
    tangents[:, 2:] = 1
    _, moved = directional_derivative(layer, rows, tangents, Context(mask=mask))
    assert not moved.any()


def test_nothing_is_left_switched_over() -> None:
    layer, rows = served(kinds.config("MultiheadAttention")), torch.randn(2, 4, 4).double()
    with torch.no_grad():
        before = forward(layer, rows, NO_CONTEXT)
        directional_derivative(layer, rows, rows, NO_CONTEXT)
        after = forward(layer.requires_grad_(False), rows, NO_CONTEXT)
    assert torch.equal(before, after)


def test_layers_without_a_forward_derivative_are_refused() -> None:
    class Without(torch.autograd.Function):
        @staticmethod
        def forward(rows: torch.Tensor) -> torch.Tensor:
            return rows * 2

        @staticmethod
        def setup_context(*_: object) -> None:
            pass

    class Layer(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = Without.apply(rows)  # type: ignore[no-untyped-call]  # torch leaves it so
            return result

    with pytest.raises(Unacceptable) as refusal:
        directional_derivative(Layer(), torch.ones(1, 2), torch.ones(1, 2), NO_CONTEXT)
    assert refusal.value.code == "derivative_unsupported"


@pytest.mark.parametrize("name", [*IDS, "LSTM", "TransformerDecoderLayer", "Conv2d"])
def test_every_kind_is_evaluated_and_ids_have_no_sensitivity(name: str) -> None:
    config = kinds.config(name)
    batch = Batch(hidden_states=kinds.rows_of(name, 12).numpy())
    found = evaluate(config, folded(build(config)), Evaluate(batch=batch))
    assert ("sensitivity" in found.metrics) == (name not in IDS)
    assert 0 <= found.metrics["nn10"] <= 1
