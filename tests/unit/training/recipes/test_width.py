"""What a map's share of its input changes: softening, how long eigenvectors stay, the rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from app.config import parse_config
from app.layers import QRReduction
from app.training import Trainer
from app.training.batch import TensorBatch
from app.training.losses.contrastive import Contrastive
from app.training.losses.distil import Distil
from app.training.recipes.distil_loss import build_distil_loss
from app.training.recipes.rate import rate_factor
from app.training.reducer import Reducer
from tests.embeddings import WIDTH as EMBEDDED
from tests.embeddings import pairs
from tests.unit.training.distil_examples import WIDTH, distil_config, observed, step
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]

WARM_UP = 60
# A step of 20 rows keeps one aside: steps behind 60, 120 and 240 vectors.
AFTER_ONE, AFTER_TWO, AFTER_FOUR = 4, 7, 13


def wide(k: int = WIDTH // 2, **fields: Any) -> Trainer:
    distil = {"warm_up": WARM_UP, **fields.pop("distil", {})}
    return Trainer(distil_config(layer={"n_components": k}, distil=distil, **fields))


def updates(trainer: Trainer, *, pairs_from: int = 99) -> list[str]:
    return [trainer.train(step(n, has_pairs=n >= pairs_from)).update for n in range(16)]


@pytest.mark.parametrize(
    ("n_components", "declared", "expected"),
    [
        (2, "auto", 1.1),
        (6, "auto", 1.1),
        (7, "auto", 1.05),
        (8, "auto", 1.0),
        (20, "auto", 1.0),
        (2, 1.3, 1.3),
        (20, 1.3, 1.3),
    ],
)
def test_softening_falls_to_none_between_a_quarter_and_a_third_of_the_input(
    n_components: int, declared: float | str, expected: float
) -> None:
    loss = build_distil_loss(distil_config(distil={"softening": declared}), n_components)
    assert isinstance(loss.neighbours, Distil)
    assert loss.neighbours.softening == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n_components", "fields", "first"),
    [
        (WIDTH // 4, {}, AFTER_ONE),
        (WIDTH // 3, {}, AFTER_TWO),
        (WIDTH // 3 + 1, {}, AFTER_FOUR),
        (WIDTH * 3 // 4, {}, AFTER_FOUR),
        (WIDTH * 3 // 4 + 1, {}, 16),
        (WIDTH // 2, {"nested": True}, 16),
        (WIDTH // 2, {"distil": {"warm_up": 30}}, 7),
    ],
)
def test_the_wider_a_map_the_longer_it_follows_eigenvectors(
    n_components: int, fields: dict[str, Any], first: int
) -> None:
    found = updates(wide(n_components, **fields))
    assert found == ["moment"] * first + ["gradient"] * (16 - first)


@pytest.mark.parametrize(("weight", "first"), [(0.3, 6), (0.0, 10)])
def test_pairs_that_weigh_something_end_the_wait(weight: float, first: int) -> None:
    """Pairs that weigh nothing are vectors as others are, two of each row."""
    found = updates(wide(distil={"pair_weight": weight}), pairs_from=6)
    assert found == ["moment"] * first + ["gradient"] * (16 - first)


@pytest.mark.parametrize("pairs_from", [0, 99])
@pytest.mark.parametrize(("profile", "rate"), [("stable", 2.5e-4), ("fast", 7.5e-4)])
def test_a_wide_map_begins_with_the_steps_that_others_end_with(
    profile: str, rate: float, pairs_from: int
) -> None:
    trainer = wide(distil={"profile": profile})
    outcomes = [trainer.train(step(n, has_pairs=n >= pairs_from)) for n in range(26)]
    rates = [one.learning_rates[0] for one in outcomes if one.update == "gradient"]
    assert (rates[0], rates[9], rates[-1]) == pytest.approx((rate / 10, rate, rate))


@pytest.mark.parametrize(("profile", "usual", "least"), [("stable", 0.5, 0.25), ("fast", 3, 0.75)])
def test_the_rate_falls_with_the_width_of_the_map(profile: str, usual: float, least: float) -> None:
    config = distil_config(distil={"profile": profile}).distil
    found = [rate_factor(config, 600, narrowness=n) for n in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([least, (least + usual) / 2, usual])


def test_pairs_weigh_a_quarter_against_the_whole_reservoir() -> None:
    config = parse_config(
        {
            "input_size": EMBEDDED,
            "layers": [{"type": "QRReduction", "n_components": 4}],
            "distil": {"pair_weight": 0.6},
        }
    )
    layer, loss = QRReduction(4, EMBEDDED), build_distil_loss(config, 4)
    rows, positives = map(torch.from_numpy, pairs(30, seed=1))
    bank = torch.from_numpy(pairs(50, seed=2)[0])
    batch = TensorBatch(hidden_states=rows, positives=positives, bank=bank)
    reducer = Reducer(layer, batch.context)
    both = torch.cat([rows, positives])
    near = loss.neighbours(TensorBatch(hidden_states=both, bank=bank), layer(both), reducer)
    pulled = Contrastive(scale=20.0, uses_reservoir=True)(batch, layer(rows), reducer)
    torch.testing.assert_close(loss(batch, layer(rows), reducer), near + 0.15 * pulled)


def test_weights_of_a_wide_map_are_replayed_bit_for_bit_across_the_first_gradient() -> None:
    trainer, again = wide(), wide()
    for number in range(AFTER_FOUR - 1):
        trainer.train(step(number))
    again.restore(trainer.state())
    for number in range(AFTER_FOUR - 1, AFTER_FOUR + 3):
        outcomes = [one.train(step(number)) for one in (trainer, again)]
        assert outcomes[0] == outcomes[1]
    assert trainer.step == 3
    assert trainer.state_digest() == again.state_digest()
    assert observed(again).state.moments.count == 19 * (AFTER_FOUR + 3)
