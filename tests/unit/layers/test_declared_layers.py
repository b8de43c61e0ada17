"""Stacks of declared layers: what is refused before anything is built, what comes of the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.config import ModelConfig, parse_config
from app.errors import ConfigInvalid, Unacceptable
from app.layers import (
    Context,
    assign,
    branches,
    build,
    folded,
    forward,
    num_weights,
    output_shape,
    plain,
    product,
    warnings,
)

Layer = dict[str, Any]

LINEAR = {"type": "Linear", "out_features": 2}
CONV1D = {"type": "Conv1d", "out_channels": 2, "kernel_size": 1}
BRANCHED = {"type": "ModuleDict", "branches": {"news": [LINEAR], "code": [LINEAR]}}


def declare(*layers: Layer, shape: tuple[int | None, ...] = (6,), seed: int = 0) -> ModelConfig:
    width = shape[-1] or 1
    document: dict[str, Any] = {"input_size": width, "layers": list(layers), "seed": seed}
    return parse_config(document if len(shape) == 1 else {**document, "input_shape": list(shape)})


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def deep(levels: int) -> Layer:
    layer: Layer = {"type": "ReLU"}
    for _ in range(levels):
        layer = {"type": "Sequential", "layers": [layer]}
    return layer


# The faulty layer stands behind a Linear of 6 → 2, so rows are (2,).
@pytest.mark.parametrize(
    ("layer", "pointer", "message"),
    [
        ({"type": "Linears"}, "/type", "unknown layer 'Linears'; expected one of: .*Linear, .*"),
        ({"type": "Linear"}, "/out_features", "for Linear, an integer from 1 to 65536, got none"),
        ({**LINEAR, "out_features": 0}, "/out_features", "an integer from 1 to 65536, got 0"),
        ({**LINEAR, "out_features": 2.5}, "/out_features", "an integer .*, got 2.5"),
        ({**LINEAR, "bias": 1}, "/bias", "expected true or false, got 1"),
        ({**LINEAR, "in_features": 3}, "/in_features", "expected in_features to be 2, .* got 3"),
        (
            {**LINEAR, "dtype": "x"},
            "/dtype",
            "Linear has no argument 'dtype' here; expected .*bias",
        ),
        ({"type": "ReLU", "inplace": True}, "/inplace", "expected false, got true"),
        ({"type": "GELU", "approximate": "t"}, "/approximate", "'none' or 'tanh', got 't'"),
        ({"type": "Softmax", "dim": 2}, "/dim", "expected -1, 1 or null, got 2"),
        ({"type": "LeakyReLU", "negative_slope": 1e9}, "/negative_slope", "to 100, got 1000000"),
        ({"type": "Dropout", "p": 1.5}, "/p", "expected a number from 0 to 1, got 1.5"),
        ({"type": "Dropout", "p": "x"}, "/p", "expected a number from 0 to 1, got 'x'"),
        ({"type": "Dropout2d"}, "/type", r"rows of 3 dimensions, got \[2\]"),
        ({"type": "BatchNorm2d"}, "/type", r"rows of 3 dimensions, got \[2\]"),
        ({"type": "BatchNorm1d", "num_features": 3}, "/num_features", "to be 2, .* got 3"),
        ({"type": "BatchNorm1d", "momentum": 2}, "/momentum", "from 0 to 1, got 2"),
        (
            {"type": "BatchNorm1d", "track_running_stats": False},
            "/track_running_stats",
            "expected true, got false",
        ),
        ({"type": "LayerNorm", "normalized_shape": 3}, "/normalized_shape", r"of \[2\], got \[3\]"),
        ({"type": "LayerNorm", "eps": 0}, "/eps", "expected a number from 1e-12 to 1, got 0"),
        ({"type": "GroupNorm"}, "/num_groups", "for GroupNorm, an integer from 1 to 2, got none"),
        ({"type": "GroupNorm", "num_groups": 3}, "/num_groups", "from 1 to 2, got 3"),
        ({"type": "RMSNorm", "eps": "x"}, "/eps", "a number or null .*, got 'x'"),
        ({"type": "Flatten", "start_dim": 0}, "/start_dim", "expected -1 or 1, got 0"),
        ({"type": "Unflatten", "dim": 1}, "/unflattened_size", "got none; add it"),
        (
            {"type": "Unflatten", "dim": 1, "unflattened_size": [2, 2]},
            "/unflattened_size",
            r"product is 2, got \[2, 2\]",
        ),
        ({"type": "Sequential"}, "/layers", "an array of 1 to 128 layers, got none; add it"),
        ({"type": "Sequential", "layers": []}, "/layers", "expected an array of 1 to 128 layers"),
        ({"type": "Sequential", "layers": ["ReLU"]}, "/layers/0", "expected an object like"),
        ({"type": "Sequential", "p": 1}, "/p", "has no argument 'p' here; expected one of: layers"),
        (
            {"type": "Sequential", "layers": [LINEAR, {"type": "Dropout", "p": 2}]},
            "/layers/1/p",
            "expected a number from 0 to 1, got 2",
        ),
        (
            {"type": "Residual", "layers": [{**LINEAR, "out_features": 3}]},
            "/layers",
            r"that make \[2\] of \[2\], .* got \[3\]",
        ),
        ({"type": "ModuleDict"}, "/branches", "an object of 1 to 64 branches, .* got none; add it"),
        ({"type": "ModuleDict", "branches": [[LINEAR]]}, "/branches", "expected an object"),
        (
            {"type": "ModuleDict", "branches": {"a": [{"type": "Dropout", "p": 2}]}},
            "/branches/a/0/p",
            "from 0 to 1, got 2",
        ),
        ({"type": "ModuleDict", "branches": {"keys": [LINEAR]}}, "/branches/keys", "no attribute"),
        ({"type": "ModuleDict", "branches": {"a.b": [LINEAR]}}, "/branches/a.b", "1 to 64 of a-z"),
        (
            {
                "type": "ModuleDict",
                "branches": {"a": [LINEAR], "b": [{**LINEAR, "out_features": 3}]},
            },
            "/branches",
            r"the same shape, \[2\], got \[3\]",
        ),
        (
            {"type": "ModuleDict", "branches": {"a": [BRANCHED]}},
            "/branches",
            "no ModuleDict within a branch of another",
        ),
        ({"type": "ModuleList"}, "/branches", "an array of 1 to 64 branches"),
        (
            {"type": "ModuleList", "branches": [[LINEAR]], "combine": "mean"},
            "/combine",
            "expected 'concatenate' or 'sum', got 'mean'",
        ),
        (
            {
                "type": "ModuleList",
                "branches": [[LINEAR], [{**LINEAR, "out_features": 3}]],
                "combine": "sum",
            },
            "/branches",
            r"the same shape, \[2\], got \[3\]",
        ),
        (deep(9), "/layers/0" * 7 + "/layers", "within layers at most 8 deep"),
    ],
)
def test_fault_is_refused_with_its_pointer_what_was_offered_and_what_is_allowed(
    layer: Layer, pointer: str, message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message) as refusal:
        build(declare(LINEAR, layer))
    assert refusal.value.pointer == f"/layers/1{pointer}"


@pytest.mark.parametrize(
    ("layers", "shape", "pointer", "message"),
    [
        ([{"type": "ReLU"}], (6,), "/layers", "at least one layer with weights"),
        (
            [
                {
                    "type": "ModuleDict",
                    "branches": {"a": [{"type": "ReLU"}], "b": [{"type": "LayerNorm"}]},
                }
            ],
            (6,),
            "/layers",
            "got none in branch 'a'",
        ),
        (
            [{"type": "ModuleDict", "branches": {"b": [LINEAR]}}, BRANCHED],
            (6,),
            "/layers",
            "have the branches b, in this order, got news, code",
        ),
        ([{"type": "Flatten"}, LINEAR], (None, 6), "/layers/0/type", "dimension 0 .* fixed length"),
        ([LINEAR] * 129, (6,), "/layers", "expected an array of 1 to 128 layers"),
    ],
)
def test_layers_that_do_not_go_together_are_refused(
    layers: list[Layer], shape: tuple[int | None, ...], pointer: str, message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message) as refusal:
        build(declare(*layers, shape=shape))
    assert refusal.value.pointer == pointer


def test_input_shape_must_end_with_input_size() -> None:
    config = parse_config({"input_size": 6, "input_shape": [3, 5], "layers": [LINEAR]})
    with pytest.raises(ConfigInvalid, match="end with input_size, 6, or with null, got 5"):
        output_shape(config)


def test_a_value_that_python_calls_equal_is_refused_all_the_same() -> None:
    """Shapes are remembered by config, and to Python 2 is 2.0."""
    assert output_shape(declare(LINEAR)) == (2,)
    with pytest.raises(ConfigInvalid, match=r"got 2\.0"):
        build(declare({"type": "Linear", "out_features": 2.0}))


@pytest.mark.parametrize(
    ("layers", "shape", "output", "tensors"),
    [
        ([LINEAR], (6,), (2,), {"0.weight": (2, 6), "0.bias": (2,)}),
        ([{"type": "QRReduction", "n_components": 2}], (6,), (2,), {"Q_reduced": (2, 6)}),
        ([{"type": "QRReduction", "n_components": 2}], (None, 6), (None, 2), {"Q_reduced": (2, 6)}),
        (
            [{"type": "LayerNorm", "bias": False}, {"type": "QRReduction", "n_components": 2}],
            (6,),
            (2,),
            {"0.weight": (6,), "1.Q_reduced": (2, 6)},
        ),
        (
            [{"type": "Residual", "layers": [{"type": "RMSNorm"}]}],
            (3, 6),
            (3, 6),
            {"0.layers.0.weight": (6,)},
        ),
        (
            [
                {"type": "Flatten"},
                LINEAR,
                {"type": "Unflatten", "dim": 1, "unflattened_size": [1, 2]},
            ],
            (3, 6),
            (1, 2),
            {"1.weight": (2, 18), "1.bias": (2,)},
        ),
        (
            [{"type": "ModuleList", "branches": [[{"type": "Tanh"}], [{**LINEAR, "bias": False}]]}],
            (6,),
            (8,),
            {"0.1.0.weight": (2, 6)},
        ),
        (
            [BRANCHED],
            (6,),
            (2,),
            {
                "0.news.0.weight": (2, 6),
                "0.news.0.bias": (2,),
                "0.code.0.weight": (2, 6),
                "0.code.0.bias": (2,),
            },
        ),
    ],
)
def test_shapes_are_known_before_anything_is_built(
    layers: list[Layer],
    shape: tuple[int | None, ...],
    output: tuple[int | None, ...],
    tensors: dict[str, tuple[int, ...]],
) -> None:
    config = declare(*layers, shape=shape)
    built = folded(build(config))
    assert output_shape(config) == output
    assert {name: tuple(tensor.shape) for name, tensor in built.items()} == tensors
    assert num_weights(config) == sum(tensor.numel() for tensor in built.values())


def test_weights_come_from_the_seed_and_never_from_torchs_own_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    layers = (LINEAR, {"type": "Residual", "layers": [LINEAR]}, BRANCHED)
    first, again, other = (folded(build(declare(*layers, seed=seed))) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_a_request_chooses_a_branch_and_the_first_is_the_default() -> None:
    config = declare(BRANCHED, {"type": "Tanh"})
    module, batch = build(config), rows(4, 6)
    news, code = (forward(module, batch, Context(branch=name)) for name in branches(config))
    assert branches(config) == ("news", "code")
    assert torch.equal(forward(module, batch, Context()), news)
    weight = module.get_parameter("0.code.0.weight"), module.get_parameter("0.code.0.bias")
    assert torch.equal(code, torch.tanh(nn.functional.linear(batch, *weight)))


@pytest.mark.parametrize(("combine", "width"), [("concatenate", 4), ("sum", 2)])
def test_parallel_branches_are_put_side_by_side_or_added(combine: str, width: int) -> None:
    config = declare({"type": "ModuleList", "branches": [[LINEAR], [LINEAR]], "combine": combine})
    module, batch = build(config), rows(4, 6)
    one, two = (
        nn.functional.linear(
            batch,
            module.get_parameter(f"0.{i}.0.weight"),
            module.get_parameter(f"0.{i}.0.bias"),
        )
        for i in (0, 1)
    )
    expected = torch.cat([one, two], dim=-1) if combine == "concatenate" else one + two
    assert torch.equal(module(batch), expected)
    assert output_shape(config) == (width,)


def test_a_bias_before_batchnorm_is_warned_of_and_one_that_does_something_is_not() -> None:
    nothing = declare(LINEAR, {"type": "BatchNorm1d"})
    inside = declare({"type": "Sequential", "layers": [LINEAR, {"type": "BatchNorm1d"}]})
    off = declare({**LINEAR, "bias": False}, {"type": "BatchNorm1d"})
    between = declare(LINEAR, {"type": "ReLU"}, {"type": "BatchNorm1d"})
    assert warnings(nothing)[0].startswith("/layers/0/bias: has no effect")
    assert warnings(inside)[0].startswith("/layers/0/layers/0/bias: has no effect")
    assert (warnings(off), warnings(between)) == ((), ())


def test_only_a_bias_of_each_feature_of_the_batchnorm_is_warned_of() -> None:
    channels = declare(CONV1D, {"type": "BatchNorm1d"}, shape=(3, 6))
    positions = declare(LINEAR, {"type": "BatchNorm1d"}, LINEAR, shape=(3, 6))
    assert warnings(channels)[0].startswith("/layers/0/bias: has no effect")
    assert warnings(positions) == ()


def test_batchnorm_refuses_to_learn_from_one_row_in_our_words() -> None:
    module = build(declare(LINEAR, {"type": "BatchNorm1d"}))
    with pytest.raises(Unacceptable, match="at least 2 rows, got 1") as refusal:
        module(rows(1, 6))
    assert refusal.value.code == "too_few_rows"
    assert module.eval()(rows(1, 6)).shape == (1, 2)


def test_running_statistics_are_served_folded_and_assigned() -> None:
    config = declare(LINEAR, {"type": "BatchNorm1d"}, LINEAR)
    trained, other, batch = build(config), build(config), rows(16, 6)
    for _ in range(3):
        trained(batch)
    assign(other, folded(trained))
    names = ("running_mean", "running_var", "num_batches_tracked")
    assert {f"1.{name}" for name in names} <= folded(trained).keys()
    torch.testing.assert_close(folded(other), folded(trained), rtol=0, atol=0)
    serving = plain(config, folded(trained))
    assert torch.equal(serving(batch), trained.eval()(batch))
    assert torch.equal(other.eval()(batch), trained(batch))


def test_serving_holds_these_very_tensors_and_draws_nothing() -> None:
    config = declare({"type": "LayerNorm"}, LINEAR, {"type": "Dropout"}, {"type": "BatchNorm1d"})
    tensors = folded(build(config))
    state = torch.get_rng_state()
    serving = plain(config, tensors)
    serving(rows(4, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert not serving.training
    held = serving.state_dict()
    assert {name: held[name].data_ptr() for name in held} == {
        name: tensor.data_ptr() for name, tensor in tensors.items()
    }
    assert not any(parameter.requires_grad for parameter in serving.parameters())


@pytest.mark.parametrize("layer", [LINEAR, {"type": "QRReduction", "n_components": 2}])
def test_one_matrix_is_served_without_a_module(layer: Layer) -> None:
    config = declare(layer)
    tensors, batch = folded(build(config)), rows(4, 6)
    reduce = product(config, tensors)
    assert not isinstance(reduce, nn.Module)
    assert torch.equal(reduce(batch), plain(config, tensors)(batch))
