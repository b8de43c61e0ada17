from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers import QRReduction, orthonormality_error


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden_states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(11))


@pytest.mark.parametrize("leading", [(), (1,), (5,), (2, 3), (2, 3, 4), (0,)])
def test_shape_is_leading_dimensions_and_n_components(leading: tuple[int, ...]) -> None:
    assert QRReduction(2, 6)(hidden_states(*leading, 6)).shape == (*leading, 2)


def test_weight_is_one_parameter_of_components_by_width() -> None:
    layer = QRReduction(2, 6)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()] == [
        ("Q_reduced", (2, 6))
    ]
    assert isinstance(layer.Q_reduced, nn.Parameter)


@pytest.mark.parametrize("leading", [(), (64,), (4, 16)])
def test_fused_call_equals_matmul(leading: tuple[int, ...]) -> None:
    layer = QRReduction(96, 384, generator=seeded())
    rows = hidden_states(*leading, 384)
    # Sums of 384 products of order 1/20 in float32, in another order.
    torch.testing.assert_close(
        layer(rows), torch.matmul(rows, layer.Q_reduced.T), rtol=0, atol=2e-6
    )


def test_bias_starts_at_zero_and_is_added() -> None:
    layer = QRReduction(2, 6, bias=True)
    assert layer.bias is not None
    assert torch.equal(layer.bias, torch.zeros(2))
    without = layer(hidden_states(3, 6))
    nn.init.constant_(layer.bias, 1.5)
    torch.testing.assert_close(layer(hidden_states(3, 6)), without + 1.5)


def test_without_bias_there_is_none_in_the_state() -> None:
    assert list(QRReduction(2, 6).state_dict()) == ["Q_reduced"]
    assert list(QRReduction(2, 6, bias=True).state_dict()) == ["Q_reduced", "bias"]


def test_hooks_run_through_call() -> None:
    layer, seen = QRReduction(2, 6), []
    layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.shape))
    layer(hidden_states(3, 6))
    assert seen == [(3, 2)]


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_weight_moves_under_sgd_and_mse(parametrization: str) -> None:
    layer = QRReduction(2, 6, parametrization=parametrization, generator=seeded())
    before = layer.Q_reduced.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    loss = nn.MSELoss()(layer(hidden_states(8, 6)), hidden_states(8, 2))
    loss.backward()
    optimizer.step()
    layer.retract_()
    assert not torch.allclose(layer.Q_reduced, before)
    assert nn.MSELoss()(layer(hidden_states(8, 6)), hidden_states(8, 2)) < loss


def test_output_is_linear_in_the_input() -> None:
    """A QR of the input inside forward would not be."""
    layer = QRReduction(2, 6, generator=seeded())
    one, two = hidden_states(4, 6), hidden_states(4, 6).flip(0)
    torch.testing.assert_close(layer(one + 3 * two), layer(one) + 3 * layer(two))


def test_output_of_a_row_does_not_depend_on_the_other_rows() -> None:
    layer = QRReduction(2, 6, generator=seeded())
    rows, others = hidden_states(4, 6), hidden_states(4, 6)
    others[1:] *= -7
    torch.testing.assert_close(layer(rows)[0], layer(others)[0], rtol=0, atol=1e-6)


def test_device_and_dtype_move_the_weight() -> None:
    assert QRReduction(2, 6).to("meta").Q_reduced.device.type == "meta"
    assert QRReduction(2, 6, device="meta").Q_reduced.device.type == "meta"
    assert QRReduction(2, 6).to(torch.bfloat16)(hidden_states(6).bfloat16()).dtype == torch.bfloat16
    assert QRReduction(2, 6, bias=True, dtype=torch.float64)(hidden_states(6).double()).dtype == (
        torch.float64
    )


def test_reconstruct_undoes_the_bias_and_projects() -> None:
    layer = QRReduction(2, 6, bias=True, generator=seeded())
    assert layer.bias is not None
    nn.init.constant_(layer.bias, 3.0)
    rows = layer.Q_reduced.detach().clone()
    # Orthonormal rows are their own projections; exact but for rounding around the bias of 3.
    torch.testing.assert_close(layer.reconstruct(layer(rows)), rows, rtol=0, atol=2e-6)


def test_reset_starts_again_in_place() -> None:
    arguments: dict[str, Any] = {"bias": True, "init": "normal", "parametrization": "qr"}
    layer = QRReduction(2, 6, **arguments, generator=seeded(1))
    parameters = list(layer.parameters())
    first = {name: value.clone() for name, value in layer.state_dict().items()}
    for parameter in parameters:
        nn.init.ones_(parameter)
    layer.reset_parameters(generator=seeded(1))
    assert all(now is before for now, before in zip(layer.parameters(), parameters, strict=True))
    torch.testing.assert_close(dict(layer.state_dict()), first, rtol=0, atol=0)


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_repr_says_what_the_layer_is(parametrization: str) -> None:
    layer = QRReduction(2, 6, bias=True, parametrization=parametrization)
    assert layer.extra_repr() == (
        f"input_size=6, n_components=2, bias=True, parametrization={parametrization}"
    )


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_deep_copy_is_independent(parametrization: str) -> None:
    layer = QRReduction(2, 6, parametrization=parametrization, generator=seeded())
    twin = copy.deepcopy(layer)
    twin.reset_parameters(generator=seeded(9))
    assert not torch.allclose(layer.Q_reduced, twin.Q_reduced)
    assert orthonormality_error(layer.Q_reduced) < 1e-6


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "2", None])
@pytest.mark.parametrize("name", ["n_components", "input_size"])
def test_width_is_a_positive_integer(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=f"expected {name} to be an integer of at least 1, got"):
        QRReduction(**{"n_components": 2, "input_size": 6, name: bad})


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"init": "glorot"}, "/init"),
        ({"parametrization": "stiefel"}, "/parametrization"),
        ({"init": "pca"}, "/init"),
    ],
)
def test_unknown_names_are_refused(arguments: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        QRReduction(2, 6, **arguments)
    assert refusal.value.pointer == pointer


def test_layer_itself_may_widen() -> None:
    assert QRReduction(6, 2)(hidden_states(3, 2)).shape == (3, 6)
