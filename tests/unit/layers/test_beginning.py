"""`init` and `parametrization` of layers of torch's: which weights they reach, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from app.config import parse_config
from app.errors import ConfigInvalid
from app.layers import build, folded, orthonormality_error, retract_

CONV = {"type": "Conv1d", "out_channels": 3, "kernel_size": 2}


def made(layer: dict[str, Any], shape: tuple[int, ...] = (8,), seed: int = 3) -> nn.Module:
    flat = [] if len(shape) == 1 else [{"type": "Flatten"}]
    document = {
        "input_size": shape[-1],
        "input_shape": list(shape),
        "layers": [layer, *flat, {"type": "QRReduction", "n_components": 2}],
        "recipe": "plain",
        "seed": seed,
    }
    return build(parse_config(document))


def test_init_fills_the_weight_and_leaves_the_bias_to_torch() -> None:
    layer = {"type": "Linear", "out_features": 4}
    plain, started = made(layer), made({**layer, "init": {"type": "constant", "val": 0.5}})
    assert torch.equal(started.get_parameter("0.weight"), torch.full((4, 8), 0.5))
    assert torch.equal(started.get_parameter("0.bias"), plain.get_parameter("0.bias"))


@pytest.mark.parametrize(
    "init", ["xavier_normal", "orthogonal", {"type": "sparse", "sparsity": 0.5}]
)
def test_what_is_drawn_comes_from_the_seed_of_the_model(init: object) -> None:
    layer = {"type": "Linear", "out_features": 4, "init": init}
    torch.manual_seed(1)
    one = made(layer).get_parameter("0.weight")
    torch.manual_seed(2)
    assert torch.equal(one, made(layer).get_parameter("0.weight"))
    assert not torch.equal(one, made(layer, seed=4).get_parameter("0.weight"))


def test_init_reaches_every_weight_of_a_layer_of_several() -> None:
    layer = {"type": "LSTM", "hidden_size": 3, "output": "last", "init": "orthogonal"}
    weights = [
        parameter
        for name, parameter in made(layer, (5, 4)).named_parameters()
        if name.startswith("0.") and parameter.ndim > 1
    ]
    assert len(weights) == 2
    assert all(orthonormality_error(weight) < 1e-6 for weight in weights)


def test_orthogonal_works_on_a_convolution() -> None:
    weight = made({**CONV, "init": "orthogonal"}, (4, 5)).get_parameter("0.weight")
    assert weight.shape == (3, 4, 2)
    assert orthonormality_error(weight.flatten(1)) < 1e-6


def test_the_padding_row_of_an_embedding_stays_zero() -> None:
    layer = {"type": "Embedding", "num_embeddings": 5, "embedding_dim": 3, "padding_idx": 1}
    weight = made({**layer, "init": "ones"}, (4,)).get_parameter("0.weight")
    assert weight.sum(dim=1).tolist() == [3, 0, 3, 3, 3]


@pytest.mark.parametrize(
    ("parametrization", "holds"),
    [
        ("qr", lambda weight: orthonormality_error(weight) < 1e-5),
        ("orthogonal", lambda weight: orthonormality_error(weight) < 1e-5),
        ("unit_norm", lambda weight: (weight.norm(dim=1) - 1).abs().max() < 1e-6),
        ({"type": "sparse", "density": 0.25}, lambda weight: weight.count_nonzero() == 8),
        ({"type": "low_rank", "rank": 2}, lambda weight: torch.linalg.svdvals(weight)[2] < 1e-6),
    ],
)
def test_a_linear_layer_keeps_its_promise_through_steps(
    parametrization: object, holds: Any
) -> None:
    module = made({"type": "Linear", "out_features": 4, "parametrization": parametrization})
    descent = torch.optim.Adam(module.parameters(), lr=0.05)
    for seed in range(5):
        rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
        descent.zero_grad()
        module(rows).square().mean().backward()
        descent.step()
        retract_(module)
    tensors = folded(module)
    assert tensors.keys() == {"0.weight", "0.bias", "1.Q_reduced"}
    assert holds(tensors["0.weight"])


def test_filters_of_a_convolution_have_unit_norm() -> None:
    weight = folded(made({**CONV, "parametrization": "unit_norm"}, (4, 5)))["0.weight"]
    torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(3))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to start": ({"type": "ReLU", "init": "ones"}, "/init"),
    "nothing to constrain": ({"type": "ReLU", "parametrization": "qr"}, "/parametrization"),
    "one dimension": ({"type": "LayerNorm", "init": "ones"}, "/init"),
    "not for matrices": ({"type": "Linear", "out_features": 4, "init": "dirac"}, "/init"),
    "wider than orthonormal": (
        {"type": "Linear", "out_features": 9, "parametrization": "qr"},
        "/parametrization",
    ),
    "a container": ({"type": "Sequential", "layers": [{"type": "ReLU"}], "init": "ones"}, "/init"),
    "another argument": ({"type": "Linear", "init": "ones"}, "/out_features"),
}


@pytest.mark.parametrize(("layer", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_with_its_place(layer: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        made(layer)
    assert refusal.value.pointer == f"/layers/0{pointer}"
