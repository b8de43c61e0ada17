"""The same request gives the same vectors and the same learning on CPU and CUDA."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine import Engine, choose_device
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Batch, FloatArray, TrainStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

CONFIG = parse_config(
    {
        "input_size": 384,
        "layers": [{"type": "QRReduction", "n_components": 96, "bias": True}],
        "optimizer": {"type": "Adam", "lr": 1e-3},
        "recipe": "plain",
    }
)


def rows(seed: int, count: int = 64) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, 384), dtype=np.float32)


async def learn_and_reduce(root: Path, device: str) -> tuple[FloatArray, FloatArray, list[float]]:
    """Reduced before training, after 20 steps, and the losses of these steps."""
    settings = Settings(models_dir=root, device=device)
    service = Service(Engine(choose_device(device), settings), Repository(root), settings)
    await service.start()
    await service.create("m", CONFIG)
    before = (await service.reduce("m", rows(0))).array
    steps = [TrainStep(batch=Batch(hidden_states=rows(seed))) for seed in range(1, 21)]
    losses = [(await service.train_step("m", step)).answer.loss or 0.0 for step in steps]
    after = (await service.reduce("m", rows(0))).array
    await service.close()
    return before, after, losses


def test_reduce_and_train_step_agree_between_cpu_and_cuda(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cuda").mkdir()
    on_cpu = asyncio.run(learn_and_reduce(tmp_path / "cpu", "cpu"))
    on_cuda = asyncio.run(learn_and_reduce(tmp_path / "cuda", "cuda"))
    # Sums in another order; twenty Adam steps carry the difference on.
    np.testing.assert_allclose(on_cuda[0], on_cpu[0], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(on_cuda[1], on_cpu[1], atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(on_cuda[2], on_cpu[2], rtol=1e-3)


def test_auto_chooses_cuda_and_says_which() -> None:
    chosen = choose_device("auto")
    assert chosen.name == "cuda:0"
    assert torch.cuda.get_device_name(0) in chosen.reason
