from __future__ import annotations

from dataclasses import replace

import torch

from app.config import parse_config
from app.layers import QRReduction
from app.training import Trainer
from app.training.batch import TensorBatch
from app.training.losses.distil import Distil
from app.training.recipes.distil_loss import build_distil_loss
from app.training.reducer import Reducer
from app.types import Batch, TrainStep
from tests.embeddings import WIDTH, pairs


def config(**distil: float) -> dict[str, object]:
    return {
        "input_size": WIDTH,
        "layers": [{"type": "QRReduction", "n_components": 4}],
        "recipe": "distil",
        "distil": {"warm_up": 64, **distil},
        "observed": {"reservoir": 128},
    }


def trained(steps: int, **distil: float) -> Trainer:
    trainer = Trainer(parse_config(config(**distil)))
    for rows in torch.split(torch.from_numpy(pairs(32 * steps, seed=1)[0]), 32):
        trainer.train(TrainStep(batch=Batch(hidden_states=rows.numpy())))
    return trainer


def test_rehearsed_vectors_count_like_the_batchs_own() -> None:
    layer = QRReduction(4, WIDTH)
    rows, bank = map(torch.from_numpy, pairs(50, seed=1))
    chosen = torch.tensor([3, 7, 40])
    loss = build_distil_loss(parse_config(config()), 4)
    batch = TensorBatch(hidden_states=rows, bank=bank, rehearsed=chosen)
    joined = torch.cat([rows, bank[chosen]])
    whole = TensorBatch(hidden_states=joined, bank=bank)
    reducer = Reducer(layer, batch.context)
    found = loss(batch, layer(rows), reducer), loss(whole, layer(joined), reducer)
    torch.testing.assert_close(*found)
    assert loss(replace(batch, rehearsed=None), layer(rows), reducer) != found[0]


def test_softening_is_the_temperature_of_the_reduced_cosines_alone() -> None:
    layer = QRReduction(4, WIDTH)
    rows, bank = map(torch.from_numpy, pairs(50, seed=1))
    batch = TensorBatch(hidden_states=rows, bank=bank)
    found = Distil(temperature=0.1, softening=1.5)(
        batch, layer(rows), Reducer(layer, batch.context)
    )
    unit = torch.nn.functional.normalize
    wanted = (rows @ bank.T / 0.1).softmax(dim=1)
    reduced = unit(layer(rows), dim=1) @ unit(layer(bank), dim=1).T / 0.15
    expected = (wanted * (wanted.log() - reduced.log_softmax(dim=1))).sum(dim=1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_steps_rehearse_and_replay_gives_the_same_bits() -> None:
    one, again, without = trained(8), trained(8), trained(8, rehearsed=0)
    assert one.state_digest() == again.state_digest()
    assert one.state_digest() != without.state_digest()
