from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers import QRReduction, assign, folded, orthonormality_error
from app.layers.orthonormal import MAX_DRIFT, gram_deviation
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]


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


CONSTRAINTS: dict[str, dict[str, Any]] = {
    "sparse-random": {"type": "sparse", "density": 0.25},
    "sparse-magnitude": {"type": "sparse", "density": 0.25, "mask": "magnitude"},
    "sparse-given": {"type": "sparse", "mask": torch.eye(6, 9).int().tolist()},
    "unit_norm": {"type": "unit_norm"},
    "low_rank": {"type": "low_rank", "rank": 2},
    "qr": {"type": "qr"},
    "orthogonal": {"type": "orthogonal"},
}
# Each keeps another kind of momentum.
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "AdamW": partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.05),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01, momentum=0.9),
    "Rprop": partial(torch.optim.Rprop, lr=0.01),
    "LBFGS": partial(torch.optim.LBFGS, lr=0.1, max_iter=2),
}


def constrained(name: str, seed: int = 0) -> QRReduction:
    return QRReduction(6, 9, parametrization=CONSTRAINTS[name], generator=seeded(seed))


def check_promise(name: str, weight: Tensor, first: Tensor) -> None:
    match CONSTRAINTS[name]["type"]:
        case "sparse":
            assert torch.equal(weight != 0, first != 0)
        case "unit_norm":
            torch.testing.assert_close(weight.norm(dim=1), torch.ones(6), rtol=0, atol=1e-6)
        case "low_rank":
            # Float32 rounding of a product of two matrices of order one.
            assert torch.linalg.svdvals(weight)[2:].max() < 1e-5
        case _:
            assert orthonormality_error(weight) <= 2e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_promise_holds_after_fifty_steps_of_any_momentum(name: str, optimizer: str) -> None:
    layer = constrained(name)
    first, descent = layer.Q_reduced.detach().clone(), OPTIMIZERS[optimizer](layer.parameters())
    for rows in batches(50, 9):

        def loss(rows: Tensor = rows) -> Tensor:
            descent.zero_grad()
            value = similarity_loss(layer, rows)
            torch.autograd.backward(value)
            return value

        descent.step(loss)  # type: ignore[arg-type]  # torch means a tensor, too
        layer.retract_()
        check_promise(name, layer.Q_reduced.detach(), first)
    assert not torch.equal(layer.Q_reduced, first)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_served_can_be_given_back(name: str) -> None:
    layer, other = constrained(name, seed=1), constrained(name, seed=2)
    drifts_over_training(layer, torch.optim.Adam(layer.parameters(), lr=1e-2), steps=3)
    serving = folded(layer)
    assign(other, serving)
    # Factors and reflectors are found again to float32 rounding; plain weights are the same bits.
    torch.testing.assert_close(folded(other), serving, rtol=0, atol=2e-6)


def test_momentum_from_before_the_mask_revives_nothing() -> None:
    layer = constrained("sparse-random")
    raw = layer.get_parameter("parametrizations.Q_reduced.original")
    held = (layer.Q_reduced == 0).detach()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    drifts_over_training(layer, optimizer, steps=1)
    optimizer.state[raw]["exp_avg"].fill_(1.0)
    drifts_over_training(layer, optimizer, steps=5)
    assert layer.Q_reduced[held].count_nonzero() == 0
    assert raw[held].count_nonzero() == 0


def test_the_mask_multiplies_in_every_forward() -> None:
    """An optimizer that evaluates several times a step, as LBFGS, sees no revived entry either."""
    layer = constrained("sparse-random")
    held = (layer.Q_reduced == 0).detach()
    layer.get_parameter("parametrizations.Q_reduced.original").data.fill_(1.0)
    assert torch.equal(layer.Q_reduced == 0, held)


def test_the_mask_is_a_buffer_beside_the_raw_weight() -> None:
    state = constrained("sparse-given").state_dict()
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        "parametrizations.Q_reduced.original": torch.float32,
        "parametrizations.Q_reduced.0.mask": torch.bool,
    }
    assert folded(constrained("sparse-given")).keys() == {"Q_reduced"}


@pytest.mark.parametrize(("density", "ones"), [(1e-9, 1), (0.25, 14), (0.5, 27), (1.0, 54)])
@pytest.mark.parametrize("mask", ["random", "magnitude"])
def test_density_is_the_share_of_ones(mask: str, density: float, ones: int) -> None:
    declared = {"type": "sparse", "density": density, "mask": mask}
    layer = QRReduction(6, 9, init="normal", parametrization=declared, generator=seeded())
    assert int(layer.Q_reduced.count_nonzero()) == ones


def test_random_masks_differ_by_their_seed_and_not_by_the_models() -> None:
    def zeros(seed: int, models: int) -> Tensor:
        declared = {"type": "sparse", "density": 0.5, "seed": seed}
        return QRReduction(6, 9, parametrization=declared, generator=seeded(models)).Q_reduced == 0

    assert torch.equal(zeros(0, 1), zeros(0, 2))
    assert not torch.equal(zeros(0, 1), zeros(1, 1))


def test_a_magnitude_mask_keeps_the_largest_and_follows_given_weights() -> None:
    layer = constrained("sparse-magnitude")
    given = torch.randn(6, 9, generator=seeded(5))
    assign(layer, {"Q_reduced": given})
    smallest = given.abs().flatten().sort(descending=True).values[13]  # a quarter of 54, rounded
    expected = torch.where(given.abs() >= smallest, given, 0)
    assert torch.equal(folded(layer)["Q_reduced"], expected)


@pytest.mark.parametrize("name", [n for n in CONSTRAINTS if n != "sparse-magnitude"])
def test_given_weights_that_break_the_promise_are_refused(name: str) -> None:
    layer = constrained(name)
    before = folded(layer)
    with pytest.raises(ArtifactInvalid, match="expected"):
        assign(layer, {"Q_reduced": torch.randn(6, 9, generator=seeded(5))})
    assert torch.equal(folded(layer)["Q_reduced"], before["Q_reduced"])


@pytest.mark.parametrize("name", ["unit_norm", "low_rank", "qr", "orthogonal"])
def test_given_weights_with_nan_are_refused(name: str) -> None:
    with pytest.raises(ArtifactInvalid):
        assign(constrained(name), {"Q_reduced": torch.full((6, 9), torch.nan)})


def test_unit_norm_holds_at_any_scale_and_a_zero_row_stays_zero() -> None:
    layer = constrained("unit_norm")
    scales = torch.tensor([1e-30, 1e-10, 1.0, 1e10, 1e30, 0.0])[:, None]
    layer.Q_reduced.data *= scales
    layer.retract_()
    lengths = layer.Q_reduced.detach().norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0] * 5 + [0.0]), rtol=0, atol=1e-6)


def test_low_rank_starts_at_the_best_approximation() -> None:
    start = QRReduction(6, 9, init="normal", generator=seeded()).Q_reduced.detach()
    layer = QRReduction(
        6, 9, init="normal", parametrization=CONSTRAINTS["low_rank"], generator=seeded()
    )
    left, singular, right = torch.linalg.svd(start, full_matrices=False)
    best = left[:, :2] * singular[:2] @ right[:2]
    torch.testing.assert_close(layer.Q_reduced.detach(), best, rtol=0, atol=1e-5)
    assert [tuple(p.shape) for p in layer.parameters()] == [(6, 2), (2, 9)]


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown": ("orthonormal", ""),
    "neither form": (7, ""),
    "unknown argument": ({"type": "qr", "rank": 2}, "/rank"),
    "no density": ("sparse", "/density"),
    "a density too many": ({"type": "sparse", "density": 0.5, "mask": [[1]]}, "/density"),
    "density of nothing": ({"type": "sparse", "density": 0}, "/density"),
    "mask of another shape": ({"type": "sparse", "mask": [[1, 0]]}, "/mask"),
    "mask of other numbers": ({"type": "sparse", "mask": [[1] * 9] * 5 + [[0.5] * 9]}, "/mask/5/0"),
    "ragged mask": ({"type": "sparse", "mask": [[1], [1, 0]]}, "/mask"),
    "mask of words": ({"type": "sparse", "mask": [["1"] * 9] * 6}, "/mask"),
    "no rank": ("low_rank", "/rank"),
    "rank of more than there is": ({"type": "low_rank", "rank": 7}, "/rank"),
}


@pytest.mark.parametrize(("declared", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_with_its_place(declared: Any, pointer: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        QRReduction(6, 9, parametrization=declared)
    assert refusal.value.pointer == f"/parametrization{pointer}"
