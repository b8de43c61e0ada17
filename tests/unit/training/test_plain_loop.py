"""A train step is what a plain PyTorch loop does, written out here without our own losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from app.training.signum import Signum
from app.training.trainer import Trainer
from tests.unit.training.examples import (
    N_COMPONENTS,
    make_config,
    make_rows,
    make_step,
    one_thread,
)

__all__ = ["one_thread"]


def _gram(rows: Tensor) -> Tensor:
    unit = F.normalize(rows, dim=-1)
    return unit @ unit.T


def _mse(x: Tensor, z: Tensor, t: Tensor, q: Tensor) -> Tensor:
    return F.mse_loss(z, t)


def _cosine(x: Tensor, z: Tensor, t: Tensor, q: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(z, t)).mean()


def _similarity(x: Tensor, z: Tensor, t: Tensor, q: Tensor) -> Tensor:
    return ((_gram(x) - _gram(z)) ** 2).mean()


def _reconstruction(x: Tensor, z: Tensor, t: Tensor, q: Tensor) -> Tensor:
    return ((x - z @ q) ** 2).sum(dim=-1).mean()


PLAIN: dict[str, tuple[Callable[..., Tensor], type[torch.optim.Optimizer], dict[str, Any]]] = {
    "mse": (_mse, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "similarity": (_similarity, torch.optim.Adam, {"lr": 1e-2}),
    "reconstruction": (_reconstruction, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "cosine": (_cosine, Signum, {"lr": 1e-3, "momentum": 0.9}),
}


@pytest.mark.parametrize("loss", list(PLAIN))
def test_updates_equal_a_plain_torch_loop_bit_for_bit(loss: str) -> None:
    plain_loss, optimizer_class, arguments = PLAIN[loss]
    config = make_config(loss, {"type": optimizer_class.__name__, **arguments})
    trainer = Trainer(config)
    q = torch.nn.Parameter(trainer.serving()["Q_reduced"])
    optimizer = optimizer_class([q], **arguments)
    for seed in range(50):
        x = torch.tensor(make_rows(seed))
        t = torch.tensor(make_rows(seed + 1000, width=N_COMPONENTS))
        optimizer.zero_grad()
        value = plain_loss(x, x @ q.T, t, q)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
        assert trainer.train(make_step(seed, loss)).loss == value.item()
    assert torch.equal(trainer.serving()["Q_reduced"], q.detach())
