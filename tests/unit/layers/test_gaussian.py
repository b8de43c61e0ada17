"""The variational bottleneck: its divergence, its gradient, what it serves, what it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from app.config import ModelConfig, parse_config
from app.layers.gaussian import Gaussian, divergence
from app.training.trainer import Trainer
from app.types import Batch, TrainStep
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]

INPUT_SIZE, N_COMPONENTS = 8, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(seed: int = 1, count: int = 64) -> Tensor:
    scales = torch.logspace(0, -2, INPUT_SIZE)
    return torch.randn(count, INPUT_SIZE, generator=seeded(seed)) * scales


def make_config(**arguments: float) -> ModelConfig:
    return parse_config(
        {
            "input_size": INPUT_SIZE,
            "layers": [{"type": "Gaussian", "n_components": N_COMPONENTS, **arguments}],
            "loss": "similarity",
            "optimizer": {"type": "Adam", "lr": 1e-2},
            "recipe": "plain",
            "seed": 3,
        }
    )


def step_of(rows: Tensor) -> TrainStep:
    return TrainStep(batch=Batch(hidden_states=rows.numpy()))


def test_divergence_is_the_mean_of_log_ratios_over_samples() -> None:
    mean = torch.randn(5, N_COMPONENTS, generator=seeded(), dtype=torch.float64)
    spread = torch.rand(5, N_COMPONENTS, generator=seeded(1), dtype=torch.float64) + 0.2
    noise = torch.randn(40_000, 5, N_COMPONENTS, generator=seeded(2), dtype=torch.float64)
    samples = mean + spread * noise
    log_ratio = 0.5 * (samples.square() - noise.square()).sum(dim=-1) - spread.log().sum(dim=-1)
    # 40,000 samples of a spread of about 2: a standard error of 0.005.
    torch.testing.assert_close(divergence(mean, spread), log_ratio.mean(), rtol=0, atol=0.03)


def test_divergence_is_its_closed_form_and_zero_at_the_prior() -> None:
    mean, spread = rows_of().double(), rows_of(2).double().abs() + 0.1
    terms = mean.square() + spread.square() - 2 * spread.log() - 1
    torch.testing.assert_close(divergence(mean, spread), 0.5 * terms.sum(dim=-1).mean())
    assert float(divergence(torch.zeros(4, 2), torch.ones(4, 2))) == 0


def test_gradients_reach_both_heads_through_the_sample() -> None:
    layer = Gaussian(N_COMPONENTS, INPUT_SIZE).double()
    rows = rows_of(count=4).double()
    weights = (layer.mean.weight, layer.log_variance.weight)

    def penalised(*_: Tensor) -> Tensor:
        torch.manual_seed(5)
        layer.forget()
        sample: Tensor = layer(rows)
        return sample.square().sum() + layer.penalty(0)

    assert torch.autograd.gradcheck(penalised, weights)


def test_evaluation_gives_the_mean_and_remembers_nothing() -> None:
    layer = Gaussian(N_COMPONENTS, INPUT_SIZE).eval()
    rows = rows_of()
    assert torch.equal(layer(rows), layer.mean(rows))
    assert copy.deepcopy(layer)(rows).equal(layer(rows))


@pytest.mark.parametrize(
    ("warm_up", "step", "share"), [(0, 0, 1.0), (10, 0, 0.0), (10, 5, 0.5), (10, 99, 1.0)]
)
def test_the_penalty_warms_up_linearly(warm_up: int, step: int, share: float) -> None:
    layer = Gaussian(N_COMPONENTS, INPUT_SIZE, kl_weight=2.0, kl_warm_up=warm_up)
    rows = rows_of()
    layer(rows)
    whole = divergence(layer.mean(rows), (0.5 * layer.log_variance(rows)).exp())
    torch.testing.assert_close(layer.penalty(step), 2 * share * whole)


def test_the_divergence_is_part_of_the_answered_loss() -> None:
    rows = rows_of()
    without, with_it = (
        Trainer(make_config(kl_weight=weight)).train(step_of(rows)).loss for weight in (0.0, 1.0)
    )
    layer = Trainer(make_config()).layer.get_submodule("0")
    assert isinstance(layer, Gaussian)
    expected = divergence(layer.mean(rows), (0.5 * layer.log_variance(rows)).exp())
    assert without is not None
    assert with_it == pytest.approx(without + expected.item(), rel=1e-6)


def test_a_refused_step_leaves_no_divergence_behind() -> None:
    trainer, twin = Trainer(make_config()), Trainer(make_config())
    with pytest.raises(Exception, match="finite"):
        trainer.train(step_of(rows_of() * 1e30))
    assert trainer.train(step_of(rows_of())) == twin.train(step_of(rows_of()))
    trainer.restore(trainer.state())


def test_equal_steps_draw_equal_samples() -> None:
    states = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        trainer = Trainer(make_config())
        for seed in range(5):
            trainer.train(step_of(rows_of(seed)))
        states.append(trainer.state_digest())
    assert states[0] == states[1]


def test_the_posterior_does_not_collapse() -> None:
    """After 150 steps the mean still tells rows apart, and says more than the noise hides."""
    trainer = Trainer(make_config(kl_weight=1e-2, kl_warm_up=50))
    for seed in range(150):
        trainer.train(step_of(rows_of(seed)))
    layer = trainer.layer.get_submodule("0")
    assert isinstance(layer, Gaussian)
    rows = rows_of(999, count=500)
    signal = layer.mean(rows).var(dim=0)
    noise = layer.log_variance(rows).exp().mean(dim=0)
    assert (signal / noise).max().item() > 10
    assert signal.sum().item() > 0.1
