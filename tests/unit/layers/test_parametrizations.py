from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.errors import ConfigInvalid
from app.layers import QRReduction, folded, orthonormality_error
from app.layers.orthonormal import MAX_DRIFT, gram_deviation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(count: int, input_size: int) -> Tensor:
    scales = torch.logspace(0, -1, input_size)
    return torch.randn(count, 32, input_size, generator=seeded(3)) * scales


def similarity_loss(layer: QRReduction, rows: Tensor) -> Tensor:
    reduced = layer(rows)
    return torch.nn.functional.mse_loss(reduced @ reduced.T, rows @ rows.T)


def drifts_over_training(
    layer: QRReduction, optimizer: torch.optim.Optimizer, steps: int
) -> list[float]:
    """Trains; what each step's drift was before its retraction."""
    drifts = []
    for rows in batches(steps, layer.input_size):
        optimizer.zero_grad()
        torch.autograd.backward(similarity_loss(layer, rows))
        optimizer.step()
        drifts.append(float(gram_deviation(layer.Q_reduced.detach()).norm()))
        layer.retract_()
    return drifts


def test_qr_stays_orthonormal_over_adam_steps_by_both_ways_back() -> None:
    layer = QRReduction(24, 48, parametrization="qr", generator=seeded())
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    drifts = drifts_over_training(layer, optimizer, steps=200)
    assert orthonormality_error(layer.Q_reduced) <= 1e-6
    assert min(drifts) < MAX_DRIFT < max(drifts)


def test_qr_keeps_the_parameter_and_the_moments_of_adam() -> None:
    layer = QRReduction(12, 48, parametrization="qr", generator=seeded())
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    drifts_over_training(layer, optimizer, steps=1)
    parameter, moment = layer.Q_reduced, optimizer.state[layer.Q_reduced]["exp_avg"]
    pointer = parameter.data_ptr()
    drifts_over_training(layer, optimizer, steps=20)
    assert layer.Q_reduced is parameter
    assert parameter.data_ptr() == pointer
    assert optimizer.state[parameter]["exp_avg"] is moment


def test_retraction_does_not_touch_the_moments() -> None:
    layer = QRReduction(12, 48, parametrization="qr", generator=seeded())
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    drifts_over_training(layer, optimizer, steps=1)
    before = {key: value.clone() for key, value in optimizer.state[layer.Q_reduced].items()}
    layer.Q_reduced.data.mul_(1.01)
    layer.retract_()
    after = optimizer.state[layer.Q_reduced]
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("init", ["normal", "kaiming_uniform", "xavier_uniform", "orthogonal"])
@pytest.mark.parametrize("parametrization", ["qr", "orthogonal"])
def test_promise_holds_from_the_start_whatever_the_init(parametrization: str, init: str) -> None:
    layer = QRReduction(4, 9, init=init, parametrization=parametrization, generator=seeded())
    assert orthonormality_error(layer.Q_reduced) <= 1e-6


def test_none_keeps_what_the_optimizer_made() -> None:
    layer = QRReduction(4, 9, init="normal", generator=seeded())
    before = layer.Q_reduced.detach().clone()
    layer.retract_()
    assert torch.equal(layer.Q_reduced, before)


def test_qr_refuses_to_widen() -> None:
    with pytest.raises(ConfigInvalid, match="at most input_size 4, got 5") as refusal:
        QRReduction(5, 4, parametrization="qr")
    assert refusal.value.pointer == "/parametrization"


@pytest.mark.parametrize("shape", [(4, 9), (9, 9), (9, 4)])
def test_orthogonal_stays_orthonormal_under_weight_decay(shape: tuple[int, int]) -> None:
    """Decay shrinks the raw ±1 diagonal, which forward truncates: rows would become zeros."""
    layer = QRReduction(*shape, parametrization="orthogonal", generator=seeded())
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1)
    drifts_over_training(layer, optimizer, steps=20)
    # Householder products of float32; the rounding of a few reflectors.
    assert orthonormality_error(layer.Q_reduced) <= 2e-6


def test_orthogonal_serves_what_it_computes() -> None:
    layer = QRReduction(4, 9, parametrization="orthogonal", bias=True, generator=seeded())
    drifts_over_training(layer, torch.optim.Adam(layer.parameters(), lr=1e-2), steps=5)
    rows = batches(1, 9)[0]
    serving = folded(layer)
    assert serving.keys() == {"Q_reduced", "bias"}
    expected = rows @ serving["Q_reduced"].T + serving["bias"]
    torch.testing.assert_close(layer(rows), expected, rtol=0, atol=2e-6)


def test_orthogonal_takes_no_random_numbers_and_no_buffer() -> None:
    layer = QRReduction(4, 9, parametrization="orthogonal", generator=seeded())
    torch.manual_seed(1)
    state = torch.get_rng_state()
    layer.reset_parameters(generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert list(layer.state_dict()) == ["parametrizations.Q_reduced.original"]


@pytest.mark.parametrize("shape", [(4, 9), (9, 9), (9, 4)])
def test_raw_weight_is_contiguous_as_what_comes_back_from_disk(shape: tuple[int, int]) -> None:
    layer = QRReduction(*shape, parametrization="orthogonal", generator=seeded())
    layer.reset_parameters(generator=seeded(2))
    assert all(parameter.is_contiguous() for parameter in layer.parameters())
