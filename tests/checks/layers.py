"""The shared battery of layers, initialisers and parametrizations.

Every member of a registry must pass it; `tests/unit/layers/test_battery.py` runs it over them. A
check takes a freshly made member and raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import is_parametrized

from app.config import ModelConfig, parse_config
from app.layers import drawn, folded, plain, product, read_initialiser, retract_

INPUT_SIZE = 7
# The least that each layer must be told; a new layer adds its line.
ARGUMENTS: dict[str, dict[str, object]] = {"QRReduction": {"n_components": 3}}

# The same of initialisers and parametrizations.
INITIALISED: dict[str, dict[str, object]] = {"constant": {"val": 0.5}, "sparse": {"sparsity": 0.5}}
CONSTRAINED: dict[str, dict[str, object]] = {"low_rank": {"rank": 2}, "sparse": {"density": 0.5}}

# One row alone and the same row in a batch take other kernels, which sum in another order.
SUMMATION_ORDER = 1e-6


def declare(layer: str = "QRReduction", **arguments: object) -> ModelConfig:
    """A config of one layer, as a user writes it."""
    declared = {"type": layer, **ARGUMENTS[layer], **arguments}
    return parse_config({"input_size": INPUT_SIZE, "layers": [declared]})


def some_hidden_states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def check_docstring(member: object) -> None:
    first_line = (member.__doc__ or "").strip().split("\n")[0]
    assert first_line.endswith((".", "`"))
    assert len(first_line) <= 88


def check_batch_equals_single(layer: nn.Module) -> None:
    batch = some_hidden_states(9, INPUT_SIZE)
    single = torch.stack([layer(row) for row in batch])
    torch.testing.assert_close(layer(batch), single, rtol=0, atol=SUMMATION_ORDER)


def check_any_leading_dimensions(layer: nn.Module) -> None:
    rows = some_hidden_states(24, INPUT_SIZE)
    expected = layer(rows)
    for leading in ((), (0,), (24,), (4, 6), (2, 3, 4), (2, 0, 4)):
        count = torch.Size(leading).numel()
        reduced = layer(rows[:count].reshape(*leading, INPUT_SIZE))
        assert reduced.shape == (*leading, expected.shape[-1])
        flat = reduced.reshape(-1, expected.shape[-1])
        torch.testing.assert_close(flat, expected[:count], rtol=0, atol=SUMMATION_ORDER)


def check_input_not_modified(layer: nn.Module) -> None:
    hidden_states = some_hidden_states(5, INPUT_SIZE)
    before = hidden_states.clone()
    layer(hidden_states).sum().backward()
    retract_(layer)
    assert torch.equal(hidden_states, before)


def check_deterministic_under_seed(make: Callable[[torch.Generator], nn.Module]) -> None:
    torch.manual_seed(1)
    first = folded(make(torch.Generator().manual_seed(5)))
    torch.manual_seed(2)
    second = folded(make(torch.Generator().manual_seed(5)))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def check_save_and_load(layer: nn.Module, other: nn.Module) -> None:
    """`other` is the same layer with other weights; saved state makes it the same, bit for bit."""
    hidden_states = some_hidden_states(5, INPUT_SIZE)
    assert not torch.equal(layer(hidden_states), other(hidden_states))
    file = BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(layer(hidden_states), other(hidden_states))


def check_gradient_equals_finite_differences(layer: nn.Module) -> None:
    layer = layer.double()
    hidden_states = some_hidden_states(4, INPUT_SIZE).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (hidden_states,))
    for name, parameter in layer.named_parameters():
        # The raw diagonal of torch's parametrization holds signs, not numbers that vary.
        fixed = torch.eye(*parameter.shape) if "parametrizations." in name else torch.zeros(1)
        output = partial(_output_after_change, layer, hidden_states, name, 1 - fixed.double())
        change = torch.zeros_like(parameter, requires_grad=True)
        assert torch.autograd.gradcheck(output, (change,))


def _output_after_change(
    layer: nn.Module, hidden_states: Tensor, name: str, is_free: Tensor, change: Tensor
) -> Tensor:
    changed = layer.get_parameter(name).detach() + is_free * change
    output: Tensor = functional_call(layer, {name: changed}, (hidden_states,))
    return output


def check_folded_equals_forward(config: ModelConfig, layer: nn.Module) -> None:
    """Serving with the folded tensors gives what the trained layer gives, to rounding."""
    hidden_states = some_hidden_states(5, INPUT_SIZE)
    serving = plain(config, folded(layer))
    assert not any(is_parametrized(module) for module in serving.modules())
    torch.testing.assert_close(
        serving(hidden_states), layer(hidden_states), rtol=0, atol=SUMMATION_ORDER
    )
    assert torch.equal(product(config, folded(layer))(hidden_states), serving(hidden_states))


def check_folded_owns_its_storage(layer: nn.Module) -> None:
    storages = {tensor.untyped_storage().data_ptr() for tensor in layer.state_dict().values()}
    for tensor in folded(layer).values():
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert tensor.untyped_storage().data_ptr() not in storages


def check_not_finite_stays_visible(make: Callable[[], nn.Module], value: float) -> None:
    """Wherever a weight is not finite, it is still so after retraction."""
    (first, *_) = make().parameters()
    for position in range(first.numel()):
        layer = make()
        weight = next(layer.parameters())
        weight.data.view(-1)[position] = value
        retract_(layer)
        assert not torch.isfinite(weight).all(), f"hidden at {position}"


def check_retraction_is_a_function(make: Callable[[], nn.Module]) -> None:
    """Equal weights are retracted to equal bits, whatever was retracted in between."""
    first, between, second = make(), make(), make()
    for scale, layer in ((0.01, first), (0.3, between), (0.01, second)):
        weight = next(layer.parameters())
        weight.data += scale * some_hidden_states(*weight.shape)
        retract_(layer)
    assert torch.equal(next(first.parameters()), next(second.parameters()))


def check_initialiser(name: str, shape: tuple[int, ...]) -> None:
    """Right shape, finite, a function of the seed alone."""

    def filled() -> Tensor:
        init = read_initialiser({"type": name, **INITIALISED.get(name, {})}, pointer="/init")
        return drawn(init, shape, torch.Generator().manual_seed(3))

    torch.manual_seed(1)
    first = filled()
    torch.manual_seed(2)
    assert torch.equal(first, filled())
    assert first.shape == shape
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    assert torch.isfinite(first).all()
