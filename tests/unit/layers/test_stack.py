from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.config import ModelConfig, parse_config
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers import QRReduction, assign, build, folded, plain, retract_
from app.layers.orthonormal import sign_fixed_qr


def config(*layers: dict[str, Any], input_size: int = 6, seed: int = 0) -> ModelConfig:
    document = {"input_size": input_size, "layers": list(layers), "seed": seed}
    return parse_config(document)


def reduction(**arguments: Any) -> dict[str, Any]:
    return {"type": "QRReduction", "n_components": 2, **arguments}


def orthonormal(*shape: int) -> Tensor:
    return sign_fixed_qr(torch.randn(*shape, generator=torch.Generator().manual_seed(5)))


def test_build_gives_the_declared_layer() -> None:
    layer = build(config(reduction(bias=True, init="normal", parametrization="qr")))
    assert isinstance(layer, QRReduction)
    assert repr(layer) == (
        "QRReduction(input_size=6, n_components=2, bias=True, parametrization=qr)"
    )
    assert layer.init == "normal"
    assert layer.training


def test_seed_of_the_config_fixes_the_weights() -> None:
    first, again, other = (
        folded(build(config(reduction(), seed=seed)))["Q_reduced"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("layer", "pointer", "message"),
    [
        ({"type": "Reduce"}, "/type", "unknown layer 'Reduce'; expected one of: .*QRReduction"),
        ({"type": "QRReduction"}, "/n_components", "expected n_components for QRReduction"),
        (reduction(n_components="2"), "/n_components", "an integer from 1 to 65536, got '2'"),
        (reduction(n_components=2.0), "/n_components", "1 to 65536, got 2.0"),
        (reduction(n_components=True), "/n_components", "1 to 65536, got true"),
        (reduction(n_components=None), "/n_components", "1 to 65536, got null"),
        (reduction(n_components=[2]), "/n_components", "1 to 65536, got an array"),
        (reduction(n_components={}), "/n_components", "1 to 65536, got an object"),
        (reduction(n_components=0), "/n_components", "from 1 to 65536, got 0"),
        (reduction(n_components=65537), "/n_components", "from 1 to 65536, got 65537"),
        (reduction(bias=1), "/bias", "expected true or false, got 1"),
        (reduction(init=3), "/init", "expected a string or an object, got 3"),
        (reduction(init="zero"), "/init", "unknown initialiser 'zero'; expected one of: .*kaim"),
        (reduction(parametrization="q"), "/parametrization", "unknown parametrization 'q'"),
        (
            reduction(n_components=7, parametrization="qr"),
            "/parametrization",
            "input_size 6, got 7",
        ),
        (reduction(input_size=5), "/input_size", "expected input_size to be 6, .* got 5; leave it"),
        (reduction(device="cuda"), "/device", "no argument 'device' here; expected .*n_compon"),
        (reduction(generator=1), "/generator", "no argument 'generator'"),
        (reduction(**{"a/b~c": 1}), "/a~1b~0c", "no argument 'a/b~c'"),
    ],
)
def test_fault_in_a_layer_is_refused_with_its_pointer(
    layer: dict[str, Any], pointer: str, message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message) as refusal:
        build(config(layer))
    assert refusal.value.pointer == f"/layers/0{pointer}"


def test_long_argument_name_is_cut() -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        build(config(reduction(**{"x" * 1000: 1})))
    assert len(refusal.value.detail) < 200
    assert len(refusal.value.pointer) < 100


def test_folded_is_a_copy_under_plain_names() -> None:
    layer = build(config(reduction(bias=True)))
    serving = folded(layer)
    assert {name: tensor.shape for name, tensor in serving.items()} == {
        "Q_reduced": (2, 6),
        "bias": (2,),
    }
    serving["Q_reduced"].zero_()
    assert folded(layer)["Q_reduced"].any()


def test_folded_of_a_view_holds_only_the_view() -> None:
    layer = QRReduction(2, 6)
    layer.Q_reduced = nn.Parameter(torch.ones(100, 6)[:2])
    assert folded(layer)["Q_reduced"].untyped_storage().nbytes() == 2 * 6 * 4


def test_folded_of_a_transposed_weight_is_contiguous() -> None:
    layer = QRReduction(2, 6)
    layer.Q_reduced = nn.Parameter(torch.ones(6, 2).T)
    assert folded(layer)["Q_reduced"].is_contiguous()


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
@pytest.mark.parametrize("shape", [(2, 6), (6, 6), (1, 1), (96, 384)])
def test_assigned_tensors_come_back(parametrization: str, shape: tuple[int, int]) -> None:
    n_components, input_size = shape
    declared = reduction(n_components=n_components, parametrization=parametrization, bias=True)
    layer = build(config(declared, input_size=input_size))
    given = {"Q_reduced": orthonormal(*shape), "bias": torch.ones(n_components)}
    assign(layer, given)
    # Exact but for `orthogonal`, which takes the rows apart into reflectors and back.
    tolerance = 1e-6 if parametrization == "orthogonal" else 0
    torch.testing.assert_close(folded(layer), given, rtol=0, atol=tolerance)


def test_widening_orthogonal_takes_orthonormal_columns() -> None:
    layer = QRReduction(6, 2, parametrization="orthogonal")
    given = {"Q_reduced": orthonormal(6, 2)}
    assign(layer, given)
    torch.testing.assert_close(folded(layer), given, rtol=0, atol=1e-6)


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_assign_keeps_the_parameter_objects_and_copies(parametrization: str) -> None:
    layer = build(config(reduction(parametrization=parametrization)))
    before = {name: (id(p), p.data_ptr()) for name, p in layer.named_parameters()}
    given = {"Q_reduced": orthonormal(2, 6)}
    assign(layer, given)
    given["Q_reduced"].zero_()
    assert {name: (id(p), p.data_ptr()) for name, p in layer.named_parameters()} == before
    assert folded(layer)["Q_reduced"].any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"expected tensors Q_reduced \[2, 6\], bias \[2\], found none"),
        ({"Q_reduced": (2, 6)}, r"found Q_reduced \[2, 6\]"),
        ({"weight": (2, 6), "bias": (2,)}, r"found bias \[2\], weight \[2, 6\]"),
        ({"Q_reduced": (6, 2), "bias": (2,)}, r"found Q_reduced \[6, 2\], bias \[2\]"),
        ({"Q_reduced": (2, 6), "bias": (1,)}, r"found Q_reduced \[2, 6\], bias \[1\]"),
        ({"Q_reduced": (2, 6), "bias": (2,), "x": ()}, r"bias \[2\], x \[\]"),
        ({str(i): () for i in range(9)}, r"6 \[\], 7 \[\] and more"),
    ],
)
def test_assign_refuses_other_names_and_shapes_and_changes_nothing(
    given: dict[str, tuple[int, ...]], message: str
) -> None:
    layer = build(config(reduction(bias=True)))
    before = folded(layer)
    with pytest.raises(ArtifactInvalid, match=message) as refusal:
        assign(layer, {name: torch.ones(shape) for name, shape in given.items()})
    assert refusal.value.code == "artifact_incompatible"
    torch.testing.assert_close(folded(layer), before, rtol=0, atol=0)


@pytest.mark.parametrize("factor", [1.0001, 0.5, torch.nan])
@pytest.mark.parametrize("parametrization", ["qr", "orthogonal"])
def test_assign_refuses_rows_that_are_not_orthonormal_where_promised(
    parametrization: str, factor: float
) -> None:
    layer = build(config(reduction(parametrization=parametrization)))
    before = folded(layer)
    with pytest.raises(ArtifactInvalid, match="expected orthonormal rows of Q_reduced") as refusal:
        assign(layer, {"Q_reduced": factor * orthonormal(2, 6)})
    assert refusal.value.code == "artifact_incompatible"
    torch.testing.assert_close(folded(layer), before, rtol=0, atol=0)


def test_assign_takes_any_rows_where_nothing_is_promised() -> None:
    layer = build(config(reduction()))
    assign(layer, {"Q_reduced": torch.full((2, 6), 3.0)})
    assert torch.equal(folded(layer)["Q_reduced"], torch.full((2, 6), 3.0))


def test_plain_holds_these_tensors_for_inference_only() -> None:
    declared = config(reduction(bias=True, parametrization="orthogonal"))
    tensors = {"Q_reduced": torch.ones(2, 6), "bias": torch.ones(2)}
    layer = plain(declared, tensors)
    assert not layer.training
    held = dict(layer.named_parameters())
    assert [p.data_ptr() for p in held.values()] == [t.data_ptr() for t in tensors.values()]
    assert not any(p.requires_grad for p in held.values())
    assert layer.extra_repr() == "input_size=6, n_components=2, bias=True, parametrization=none"
    assert torch.equal(layer(torch.ones(6)), torch.full((2,), 7.0))


def test_plain_takes_no_random_numbers() -> None:
    declared, tensors = config(reduction()), {"Q_reduced": torch.ones(2, 6)}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    plain(declared, tensors)
    assert torch.equal(torch.get_rng_state(), state)


def test_retract_reaches_layers_inside_a_module() -> None:
    inner = QRReduction(2, 6, parametrization="qr")
    nn.init.ones_(inner.Q_reduced)
    inner.Q_reduced.data[0] *= 2
    retract_(nn.Sequential(nn.Identity(), inner))
    gram = inner.Q_reduced @ inner.Q_reduced.T
    torch.testing.assert_close(gram, torch.eye(2), rtol=0, atol=1e-6)


def test_names_inside_a_module_are_prefixed() -> None:
    module = nn.Sequential(nn.Identity(), QRReduction(2, 6, parametrization="orthogonal"))
    given = {"1.Q_reduced": orthonormal(2, 6)}
    assign(module, given)
    torch.testing.assert_close(folded(module), given, rtol=0, atol=1e-6)
