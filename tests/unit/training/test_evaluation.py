from __future__ import annotations

import numpy as np
import torch

from app.config import ModelConfig, parse_config
from app.layers import build, folded
from app.training.evaluation import evaluate
from app.training.examined import METRICS
from app.types import Batch, Evaluate, Evaluation, FloatArray

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 3}],
        "loss": "mse",
        "recipe": "plain",
    }
)


def evaluation(rows: FloatArray, config: ModelConfig = CONFIG, **fields: FloatArray) -> Evaluation:
    batch = Batch(hidden_states=rows, **fields)
    return evaluate(config, folded(build(config)), Evaluate(batch=batch))


def rows_of(count: int) -> FloatArray:
    return np.random.default_rng(3).standard_normal((count, 6)).astype(np.float32)


def test_each_metric_needs_its_rows() -> None:
    alone = {"explained_variance", "orthonormality_error", "sensitivity"}
    alone |= {"bytes_a_vector", "gigabytes_a_million"}
    assert evaluation(rows_of(1)).metrics.keys() == alone
    assert evaluation(rows_of(10)).metrics.keys() == alone | {"rho"}
    assert evaluation(rows_of(11)).metrics.keys() == alone | {
        "rho",
        "nn10",
        "nn10_low",
        "nn10_high",
    }
    pairs = evaluation(rows_of(10), positives=rows_of(10))
    assert pairs.metrics.keys() == set(METRICS)


def test_the_interval_holds_the_share_and_size_is_that_of_float32() -> None:
    found = evaluation(rows_of(40)).metrics
    assert 0 <= found["nn10_low"] < found["nn10"] < found["nn10_high"] <= 1
    n_components = CONFIG.layers[-1].arguments["n_components"]
    size = 4 * n_components
    assert (found["bytes_a_vector"], found["gigabytes_a_million"]) == (size, size / 1000)


def test_a_batch_without_leading_dimensions_is_one_row() -> None:
    assert evaluation(rows_of(1)[0]).rows == 1


def test_zero_rows_have_no_energy_to_keep() -> None:
    assert "explained_variance" not in evaluation(np.zeros((2, 6), np.float32)).metrics


def test_a_loss_that_is_not_finite_is_null() -> None:
    found = evaluation(rows_of(2), targets=np.full((2, 3), 3e38, np.float32))
    assert found.losses == {"mse": None}


def test_a_recipe_of_its_own_is_measured_by_its_own_losses() -> None:
    document = CONFIG.model_dump(mode="json") | {"recipe": "distil", "loss": "similarity"}
    config = parse_config(document)
    assert evaluation(rows_of(12), config).losses.keys() == {"distil"}
    pairs = evaluation(rows_of(12), config, positives=rows_of(12))
    assert pairs.losses.keys() == {"distil", "contrastive"}


def test_an_evaluation_is_the_same_each_time_and_writes_nothing() -> None:
    tensors = folded(build(CONFIG))
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    asked = Evaluate(batch=Batch(hidden_states=rows_of(12)))
    torch.manual_seed(1)
    drawn = torch.get_rng_state()
    assert evaluate(CONFIG, tensors, asked) == evaluate(CONFIG, tensors, asked)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensors[name], value) for name, value in before.items())
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_large_rows_are_compared_with_the_weights_of_a_sample() -> None:
    found = evaluation(np.tile(rows_of(3000), (1, 1)))
    assert found.rows == 3000
    assert 0 < found.metrics["nn10"] < 1
