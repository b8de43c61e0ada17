from __future__ import annotations

import inspect
import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from app.config import ModelConfig, OptimizerConfig
from app.errors import ConfigInvalid
from app.layers import build
from app.training.optimizers import OPTIMIZERS, build_optimizer, plain_name
from tests.checks.optimizers import OptimizerChecks


class TestEveryOptimizer(OptimizerChecks):
    pass


LEFT_OUT = {
    "Optimizer": "the base of the others",
    "SparseAdam": "takes sparse gradients only, and every layer here makes dense ones",
}


def make_layer(*, bias: bool = True, parametrization: str = "none") -> nn.Module:
    layer = {"type": "QRReduction", "n_components": 2, "bias": bias}
    layer["parametrization"] = parametrization
    return build(ModelConfig.model_validate({"input_size": 4, "layers": [layer]}))


def make(document: dict[str, Any], module: nn.Module | None = None) -> torch.optim.Optimizer:
    config = OptimizerConfig.model_validate(document)
    return build_optimizer(config, make_layer() if module is None else module)


def test_registry_holds_torch_and_signum() -> None:
    torch_classes = {n for n, m in vars(torch.optim).items() if inspect.isclass(m)}
    assert set(OPTIMIZERS) == (torch_classes - set(LEFT_OUT)) | {"Signum"}
    assert set(LEFT_OUT) < torch_classes
    assert len(OPTIMIZERS) == 15


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_arguments_left_out_are_those_of_torch(name: str) -> None:
    module = make_layer(bias=False)
    built = make({"type": name}, module)
    plain = OPTIMIZERS[name](module.parameters())  # type: ignore[call-arg]  # each has defaults
    assert type(built) is type(plain)
    assert built.defaults == plain.defaults


def test_arguments_are_passed_by_torch_names() -> None:
    document = {"type": "Adam", "lr": 1, "betas": [0.5, 0.75], "amsgrad": True, "foreach": None}
    (group,) = make(document).param_groups
    wanted = {"lr": 1, "betas": (0.5, 0.75), "amsgrad": True, "foreach": None}
    assert {name: group[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"type": "Adan"}, "/optimizer/type"),
        ({"type": "SparseAdam"}, "/optimizer/type"),
        ({"type": "LBFGS", "max_iter": 0}, "/optimizer/max_iter"),
        ({"type": "LBFGS", "max_iter": 10**9}, "/optimizer/max_iter"),
        ({"type": "LBFGS", "history_size": 1001}, "/optimizer/history_size"),
        ({"type": "LBFGS", "line_search_fn": "armijo"}, "/optimizer/line_search_fn"),
        ({"type": "LBFGS", "groups": [{"match": "."}]}, "/optimizer/groups"),
        ({"type": "Adam", "learning_rate": 1e-3}, "/optimizer/learning_rate"),
        ({"type": "Adam", "params": []}, "/optimizer/params"),
        ({"type": "Adam", "capturable": True}, "/optimizer/capturable"),
        ({"type": "Adam", "differentiable": False}, "/optimizer/differentiable"),
        ({"type": "Adam", "lr": 0}, "/optimizer/lr"),
        ({"type": "Adam", "lr": -1e-3}, "/optimizer/lr"),
        ({"type": "Adam", "lr": 100.1}, "/optimizer/lr"),
        ({"type": "Adam", "lr": 10**400}, "/optimizer/lr"),
        ({"type": "Adam", "lr": True}, "/optimizer/lr"),
        ({"type": "Adam", "lr": "0.1"}, "/optimizer/lr"),
        ({"type": "Adam", "lr": None}, "/optimizer/lr"),
        ({"type": "Adam", "lr": [0.1]}, "/optimizer/lr"),
        ({"type": "SGD", "lr": math.nan}, "/optimizer/lr"),
        ({"type": "SGD", "lr": math.inf}, "/optimizer/lr"),
        ({"type": "SGD", "momentum": True}, "/optimizer/momentum"),
        ({"type": "SGD", "nesterov": 1}, "/optimizer/nesterov"),
        ({"type": "SGD", "nesterov": True}, "/optimizer/nesterov"),
        ({"type": "Adam", "betas": [0.9, 1.0]}, "/optimizer/betas/1"),
        ({"type": "Adam", "betas": [0.9]}, "/optimizer/betas"),
        ({"type": "Adam", "betas": 0.9}, "/optimizer/betas"),
        ({"type": "Adam", "betas": [0.9, "0.9"]}, "/optimizer/betas/1"),
        ({"type": "Adam", "lr": 0.1, "eps": -1}, "/optimizer/eps"),
        ({"type": "Adam", "foreach": True, "fused": True}, "/optimizer/fused"),
        ({"type": "Signum", "momentum": 1}, "/optimizer/momentum"),
        ({"type": "Muon"}, "/optimizer/type"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_with_their_pointer(
    document: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        make(document)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize("steps", [2.5, True, 100])
def test_muon_iterations_are_checked_before_the_first_step(steps: float) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        make({"type": "Muon", "ns_steps": steps}, make_layer(bias=False))
    assert refusal.value.pointer == "/optimizer/ns_steps"


GROUPS = {
    "type": "AdamW",
    "lr": 0.1,
    "groups": [{"match": "Q_reduced$", "weight_decay": 0}, {"match": ".", "lr": 0.2, "eps": 1e-4}],
}


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_first_matching_group_takes_a_parameter(parametrization: str) -> None:
    module = make_layer(parametrization=parametrization)
    parameters = {plain_name(name): p for name, p in module.named_parameters()}
    groups = make(GROUPS, module).param_groups
    taken = [[id(p) for p in group["params"]] for group in groups]
    assert taken == [[id(parameters["Q_reduced"])], [id(parameters["bias"])]]
    wanted = [(0.1, 0, 1e-8), (0.2, 0.01, 1e-4)]
    assert [(g["lr"], g["weight_decay"], g["eps"]) for g in groups] == wanted


def test_parameters_of_no_group_use_the_optimizer_arguments() -> None:
    module = make_layer()
    optimizer = make({"type": "SGD", "lr": 2, "groups": [{"match": "bias", "lr": 3}]}, module)
    assert [g["lr"] for g in optimizer.param_groups] == [3, 2]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, trained)) == sorted(map(id, module.parameters()))


STACK = [
    {"type": "Linear", "out_features": 4},
    {"type": "LayerNorm"},
    {
        "type": "QRReduction",
        "n_components": 2,
        "parametrization": {"type": "low_rank", "rank": 1},
        "bias": True,
    },
]


def make_stack() -> nn.Module:
    document = {"input_size": 4, "layers": STACK, "recipe": "plain"}
    return build(ModelConfig.model_validate(document))


@pytest.mark.parametrize(
    ("patterns", "sizes"),
    [
        ([], [7]),
        (["^0"], [2, 5]),
        (["bias$", "^2"], [3, 2, 2]),  # the first match wins: 2.bias is in the first group
        ([r"^2\.Q_reduced$"], [2, 5]),  # both matrices that it is the product of
        (["weight$", "bias$", "."], [2, 3, 2]),
        (["."], [7]),
    ],
    ids=str,
)
def test_groups_of_a_stack_hold_every_parameter_once(patterns: list[str], sizes: list[int]) -> None:
    module = make_stack()
    groups = [{"match": pattern, "lr": 0.1 + i} for i, pattern in enumerate(patterns)]
    made = make({"type": "SGD", "lr": 9.0, "groups": groups}, module).param_groups
    taken = [parameter for group in made for parameter in group["params"]]
    assert sorted(map(id, taken)) == sorted(map(id, module.parameters()))
    assert [len(group["params"]) for group in made] == sizes
    rates = [group["lr"] for group in groups] + [9.0] * (len(sizes) - len(patterns))
    assert [group["lr"] for group in made] == rates


def test_muon_says_which_parameters_stand_in_its_way() -> None:
    with pytest.raises(
        ConfigInvalid, match=r"0\.bias, 1\.weight, 1\.bias and 1 more; leave biases"
    ):
        make({"type": "Muon"}, make_stack())


def test_group_arguments_of_the_constructor_hold_in_a_group() -> None:
    groups = [{"match": "bias", "initial_accumulator_value": 4.0}]
    module = make_layer()
    optimizer = make({"type": "Adagrad", "groups": groups}, module)
    sums = {n: optimizer.state[p]["sum"].mean().item() for n, p in module.named_parameters()}
    assert sums == {"Q_reduced": 0.0, "bias": 4.0}


@pytest.mark.parametrize(
    ("groups", "pointer"),
    [
        ([{"match": "weight"}], "/optimizer/groups/0/match"),
        ([{"match": "."}, {"match": "bias"}], "/optimizer/groups/1/match"),
        ([{"match": "("}], "/optimizer/groups/0/match"),
        ([{"match": "a{99999999999999}"}], "/optimizer/groups/0/match"),
        ([{"match": ".", "lr": 0}], "/optimizer/groups/0/lr"),
        ([{"match": ".", "momentum": 0.9}], "/optimizer/groups/0/momentum"),
        ([{"match": "bias"}, {"match": "Q", "betas": [2, 0]}], "/optimizer/groups/1/betas/0"),
    ],
    ids=str,
)
def test_bad_groups_are_refused_with_their_pointer(
    groups: list[dict[str, Any]], pointer: str
) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        make({"type": "Adam", "groups": groups})
    assert refusal.value.pointer == pointer


def test_frozen_parameters_are_in_no_group() -> None:
    module = make_layer()
    module.get_parameter("bias").requires_grad_(False)
    (group,) = make({"type": "Muon"}, module).param_groups
    assert [p.ndim for p in group["params"]] == [2]


def test_module_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="a layer with weights to train, got none"):
        make({"type": "SGD"}, make_layer().requires_grad_(False))


def test_refusals_are_json_safe_sentences_of_our_own() -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        make({"type": "Adam", "betas": [0.9, 1.0]})
    assert json.dumps(refusal.value.detail)
    assert "Invalid beta" not in refusal.value.detail
