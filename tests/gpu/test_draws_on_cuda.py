"""What layers draw on CUDA is the same in every replay; the generators stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.training.trainer import Trainer
from app.types import Batch, TrainStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

CONFIG = parse_config(
    {
        "input_size": 64,
        "layers": [{"type": "Dropout", "p": 0.5}, {"type": "QRReduction", "n_components": 8}],
        "optimizer": {"type": "SGD", "lr": 0.01},
        "recipe": "plain",
    }
)


def trained() -> Trainer:
    trainer = Trainer(CONFIG, device=torch.device("cuda"))
    for seed in range(8):
        rows = np.random.default_rng(seed).standard_normal((32, 64), dtype=np.float32)
        trainer.train(TrainStep(batch=Batch(hidden_states=rows)))
    return trainer


def test_replay_draws_the_same_and_leaves_the_generators_alone() -> None:
    first = trained()
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    second = trained()
    after = torch.get_rng_state(), torch.cuda.get_rng_state()
    assert all(map(torch.equal, before, after))
    torch.rand(3, device="cuda")
    assert first.state_digest() == second.state_digest() == trained().state_digest()
