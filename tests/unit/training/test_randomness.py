"""What layers draw in training is the same in every replay, and nobody else's affair."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import pytest
import torch
from torch import nn

from app.config import GuardsConfig, ModelConfig, parse_config
from app.layers import draws
from app.training.randomness import ALONE, Randomness
from app.training.trainer import Trainer
from tests.unit.training.examples import INPUT_SIZE, N_COMPONENTS, bits, make_step, one_thread

__all__ = ["one_thread"]

CPU = torch.device("cpu")


def dropping(share: float = 0.5, optimizer: dict[str, Any] | None = None) -> ModelConfig:
    layers = [
        {"type": "Linear", "out_features": INPUT_SIZE},
        {"type": "Dropout", "p": share},
        {"type": "QRReduction", "n_components": N_COMPONENTS},
    ]
    document = {"input_size": INPUT_SIZE, "layers": layers, "recipe": "plain", "seed": 5}
    return parse_config({**document, "optimizer": optimizer or {"type": "SGD", "lr": 0.01}})


def trained(
    config: ModelConfig, steps: int = 8, turn: AbstractContextManager[object] = ALONE
) -> Trainer:
    trainer = Trainer(config, turn=turn)
    for seed in range(steps):
        trainer.train(make_step(seed))
    return trainer


LBFGS = {"type": "LBFGS", "lr": 0.1, "max_iter": 3}


@pytest.mark.parametrize("optimizer", [None, LBFGS], ids=["SGD", "LBFGS"])
def test_replay_draws_the_same(optimizer: dict[str, Any] | None) -> None:
    first = trained(dropping(optimizer=optimizer))
    torch.rand(3)  # somebody else draws in between
    assert bits(trained(dropping(optimizer=optimizer)).state()) == bits(first.state())


def test_dropout_does_something() -> None:
    with_it, without = trained(dropping()), trained(dropping(0.0))
    assert with_it.state_digest() != without.state_digest()


def test_models_that_train_at_once_do_not_disturb_each_other() -> None:
    alone = trained(dropping(), 40).state_digest()
    with ThreadPoolExecutor(4) as pool:
        digests = pool.map(lambda turn: trained(dropping(), 40, turn).state_digest(), [Lock()] * 4)
    assert set(digests) == {alone}


def test_the_global_generator_is_as_it_was_also_after_a_refusal() -> None:
    trainer = Trainer(dropping())
    before = torch.get_rng_state()
    trainer.train(make_step(0))
    with pytest.raises(Exception, match="not finite"):
        trainer.train(make_step(1, scale=float("nan")))
    assert torch.equal(torch.get_rng_state(), before)


def test_each_version_draws_anew_and_a_refused_step_once_more_the_same() -> None:
    layer = nn.Dropout(0.5).train()
    randomness = Randomness(layer, 3, CPU, ALONE)
    ones, drawn = torch.ones(64), []
    for version in (1, 1, 2):
        with randomness.at(version):
            drawn.append(layer(ones))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_the_canary_never_draws() -> None:
    guards = {"canary": {"rows": 8, "every": 1}}
    trainer = Trainer(dropping().model_copy(update={"guards": GuardsConfig.model_validate(guards)}))
    before = torch.get_rng_state()
    for seed in range(30):
        trainer.train(make_step(seed))
    assert trainer.guards.state.canary.anchor is not None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (nn.Linear(2, 2), False),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout2d(0.1)), True),
        (nn.Dropout(0.0), False),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), True),
        (nn.LSTM(2, 2), False),
        (nn.MultiheadAttention(4, 2, dropout=0.1), True),
        (nn.MultiheadAttention(4, 2), False),
        (nn.TransformerEncoderLayer(4, 2, dropout=0.0), False),
        (nn.TransformerEncoderLayer(4, 2), True),
        (nn.RReLU(), True),
    ],
    ids=str,
)
def test_only_layers_that_draw_are_held_up(layer: nn.Module, wanted: bool) -> None:
    assert draws(layer) == wanted
