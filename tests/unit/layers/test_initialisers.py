from __future__ import annotations

from inspect import signature
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers import INITIALISERS, QRReduction, drawn, read_initialiser
from tests.checks.layers import INITIALISED


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(declared: str | dict[str, Any], *shape: int) -> Tensor:
    return drawn(read_initialiser(declared, pointer="/init"), shape, seeded())


def test_without_a_generator_the_global_seed_counts() -> None:
    torch.manual_seed(4)
    layer = QRReduction(5, 9, init="normal")
    torch.manual_seed(4)
    assert torch.equal(layer.Q_reduced, torch.randn(5, 9))


@pytest.mark.parametrize("name", INITIALISERS)
def test_arguments_and_defaults_are_those_of_torch(name: str) -> None:
    torchs = signature(getattr(nn.init, f"{name}_")).parameters
    wanted = {n: p.default for n, p in torchs.items() if n not in ("tensor", "generator")}
    fields = INITIALISERS[name].model_fields
    assert fields.keys() == wanted.keys()
    for argument, default in wanted.items():
        is_required = default is signature(nn.init.constant_).parameters["val"].default
        assert fields[argument].is_required() == is_required
        assert is_required or fields[argument].default == default


# `orthogonal` has tests of its own; `sparse` draws its zeros from the seed, which torch does not.
LIKE_TORCH = [name for name in INITIALISERS if name not in ("orthogonal", "sparse")]


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_values_are_those_of_torch(name: str) -> None:
    shape = (4, 3, 2) if name == "dirac" else (5, 9)
    arguments = INITIALISED.get(name, {})
    takes = signature(getattr(nn.init, f"{name}_")).parameters
    random = {"generator": seeded()} if "generator" in takes else {}
    expected = getattr(nn.init, f"{name}_")(torch.empty(shape), **arguments, **random)
    assert torch.equal(filled({"type": name, **arguments}, *shape), expected)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "uniform": {"a": -2.0, "b": 0.5},
    "normal": {"mean": 3.0, "std": 0.1},
    "trunc_normal": {"mean": 0.5, "std": 0.3, "a": 0.0, "b": 1.0},
    "xavier_uniform": {"gain": 3.0},
    "xavier_normal": {"gain": 3.0},
    "kaiming_uniform": {"a": 0.5, "mode": "fan_out"},
    "kaiming_normal": {"mode": "fan_out", "nonlinearity": "relu"},
}


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS.items(), ids=list(ARGUMENTS))
def test_arguments_reach_torch(name: str, arguments: dict[str, Any]) -> None:
    function = getattr(nn.init, f"{name}_")
    expected = function(torch.empty(5, 9), **arguments, generator=seeded())
    assert torch.equal(filled({"type": name, **arguments}, 5, 9), expected)


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_sparse_leaves_its_share_of_each_column_zero(rows: int) -> None:
    weight = filled({"type": "sparse", "sparsity": 0.3, "std": 2.0}, rows, 50)
    num_zeros = -(-3 * rows // 10)
    assert (weight == 0).sum(dim=0).tolist() == [num_zeros] * 50


@pytest.mark.parametrize(
    "shape", [(96, 384), (64, 64), (1, 5), (384, 96), (5, 1), (6, 2, 5), (40, 2, 3, 3)]
)
def test_orthogonal_is_orthonormal_on_its_short_side(shape: tuple[int, ...]) -> None:
    weight = filled("orthogonal", *shape).flatten(1)
    short = weight if shape[0] <= prod(shape[1:]) else weight.T
    # Float32 Householder products; measured up to 8e-7 at 1024 x 4096.
    torch.testing.assert_close(short @ short.T, torch.eye(len(short)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 2, 5)])
def test_orthogonal_is_that_of_torch_times_its_gain(shape: tuple[int, ...]) -> None:
    expected = nn.init.orthogonal_(torch.empty(shape), gain=2.5, generator=seeded())
    given = filled({"type": "orthogonal", "gain": 2.5}, *shape)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-5)


def test_orthogonal_has_the_signs_of_its_gaussian() -> None:
    """R has a positive diagonal, so each row leans to the Gaussian row that it was made from."""
    gaussian = filled("normal", 5, 9)
    assert ((filled("orthogonal", 5, 9) * gaussian).sum(dim=1) > 0).all()


REFUSED: dict[str, tuple[object, str]] = {
    "unknown": ("glorot", "/init"),
    "unknown in an object": ({"type": "glorot"}, "/init/type"),
    "no name": ({"gain": 2}, "/init"),
    "neither": (3, "/init"),
    "unknown argument": ({"type": "normal", "gain": 2}, "/init/gain"),
    "missing argument": ("constant", "/init/val"),
    "another kind": ({"type": "normal", "std": "1"}, "/init/std"),
    "out of bounds": ({"type": "normal", "std": -1}, "/init/std"),
    "another word": ({"type": "kaiming_normal", "mode": "fan"}, "/init/mode"),
    "empty range": ({"type": "uniform", "a": 2, "b": 1}, "/init/a"),
    "nothing near": ({"type": "trunc_normal", "mean": 9}, "/init/mean"),
    "three dimensions": ("dirac", "/init"),
}


@pytest.mark.parametrize(("declared", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_with_its_place(declared: Any, pointer: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        QRReduction(3, 6, init=declared)
    assert refusal.value.pointer == pointer


def test_dirac_refuses_groups_that_do_not_divide() -> None:
    init = read_initialiser({"type": "dirac", "groups": 3}, pointer="/init")
    with pytest.raises(ConfigInvalid, match="divide the 4 outputs"):
        init.check((4, 3, 2), pointer="/init")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"type": "kaiming_normal", "nonlinearity": "rlu"}, "'leaky_relu' or 'selu', got 'rlu'"),
        ({"type": "normal", "std": -1.5}, "a number from 0 to 1e.30, got -1.5"),
        ({"type": "normal", "std": True}, "expected a number .*, got true"),
        ({"type": "normal", "std": [[1]]}, "got an array of 1 entry$"),
        ({"type": "normal", "sd": 1}, "there is no such field; expected one of: std, mean$"),
    ],
)
def test_a_refusal_gives_what_was_offered(declared: Any, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        read_initialiser(declared, pointer="/init")
