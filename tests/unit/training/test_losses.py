from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from app.config import Component, ModelConfig
from app.errors import ConfigInvalid, TooLarge, Unacceptable
from app.training.batch import TensorBatch
from app.training.losses import LOSSES, build_loss, check_batch, value_of
from app.training.reducer import Reducer
from app.training.rows import unit_rows
from app.types import Batch
from tests.checks.losses import LossChecks, loss_of, make_batch, make_layer, random_rows

PAIR = frozenset({"positives"})
LABELS = frozenset({"labels"})
TARGETS = frozenset({"targets"})
NOTHING = frozenset[str]()


class TestEveryLoss(LossChecks):
    pass


def of_type(name: str, **arguments: object) -> Component:
    return Component.model_validate({"type": name, **arguments})


@pytest.mark.parametrize(
    ("component", "needs", "accepts"),
    [
        (of_type("contrastive"), PAIR, frozenset({"negatives"})),
        (of_type("cosine"), TARGETS, NOTHING),
        (of_type("cross_entropy"), LABELS, NOTHING),
        (of_type("decorrelation"), NOTHING, PAIR),
        (of_type("distil"), NOTHING, NOTHING),
        (of_type("mse"), TARGETS, NOTHING),
        (of_type("nested", loss="mse", dimensions=[1]), TARGETS, NOTHING),
        (of_type("procrustes"), TARGETS, NOTHING),
        (of_type("reconstruction"), NOTHING, NOTHING),
        (of_type("relation"), TARGETS, NOTHING),
        (of_type("similarity"), NOTHING, NOTHING),
        (of_type("supervised_contrastive"), LABELS, NOTHING),
        (of_type("triplet"), frozenset({"positives", "negatives"}), NOTHING),
        (of_type("weighted", losses=["mse", "cross_entropy"]), TARGETS | LABELS, NOTHING),
    ],
    ids=lambda value: value.type if isinstance(value, Component) else "",
)
def test_fields_that_a_loss_needs(
    component: Component, needs: frozenset[str], accepts: frozenset[str]
) -> None:
    loss = build_loss(component)
    assert (loss.needs, loss.accepts) == (needs, accepts | {"sample_weights"})


def test_registry_holds_exactly_these() -> None:
    assert list(LOSSES) == [
        "contrastive",
        "cosine",
        "cross_entropy",
        "decorrelation",
        "distil",
        "mse",
        "nested",
        "procrustes",
        "reconstruction",
        "relation",
        "similarity",
        "supervised_contrastive",
        "triplet",
        "weighted",
    ]


def whole(layer: torch.nn.Module) -> Reducer:
    return Reducer(layer, TensorBatch(hidden_states=torch.empty(0)).context)


def test_values_by_hand() -> None:
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    z, t = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [1.0]])
    batch = TensorBatch(hidden_states=x, targets=t)
    layer = whole(make_layer())
    values = {n: build_loss(Component(type=n))(batch, z, layer).item() for n in ("mse", "cosine")}
    assert values == {"mse": 2.5, "cosine": 1.0}
    # cosines: full 0.6, reduced -1; two of the four ordered pairs differ by 1.6
    similarity = build_loss(Component(type="similarity"))(batch, z, layer)
    assert similarity.item() == pytest.approx(1.6**2 / 2, rel=1e-6)  # float32


def test_reconstruction_is_the_squared_distance_per_row() -> None:
    rows, layer = random_rows(4), make_layer()
    reduced = layer(rows)
    back = (reduced - layer.bias) @ layer.Q_reduced
    expected = ((rows - back) ** 2).sum() / 4
    value = value_of(loss_of({"type": "reconstruction"}), TensorBatch(hidden_states=rows), layer)
    assert torch.allclose(value, expected, rtol=1e-12)  # float64 sums in another order


def test_reconstruction_refuses_a_layer_that_cannot_map_back() -> None:
    rows, layer = torch.ones(2, 6), torch.nn.Linear(6, 3)
    with pytest.raises(ConfigInvalid, match="maps back"):
        value_of(loss_of({"type": "reconstruction"}), TensorBatch(hidden_states=rows), layer)


def test_mse_without_weights_has_the_bits_of_torch() -> None:
    z, t = torch.randn(64, 32), torch.randn(64, 32)
    batch = TensorBatch(hidden_states=torch.zeros(64, 2), targets=t)
    assert torch.equal(
        build_loss(Component(type="mse"))(batch, z, whole(make_layer())), F.mse_loss(z, t)
    )


SCALE_FREE: list[dict[str, Any]] = [
    {"type": "similarity"},
    {"type": "distil"},
    {"type": "contrastive"},
    {"type": "triplet"},
    {"type": "supervised_contrastive"},
    {"type": "decorrelation"},
    {"type": "procrustes"},
    {"type": "relation"},
    {"type": "cosine"},
    {"type": "nested", "loss": "distil", "dimensions": [1, 3]},
]


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e19, 1e30])
@pytest.mark.parametrize("arguments", SCALE_FREE, ids=lambda arguments: arguments["type"])
def test_loss_does_not_see_the_scale_of_hidden_states(
    arguments: dict[str, Any], scale: float
) -> None:
    layer, loss = make_layer(bias=False).float(), loss_of(arguments)
    tensors = make_batch(loss, random_rows(6)).tensors()
    plain: dict[str, Any] = {
        n: t.float() if t.is_floating_point() else t for n, t in tensors.items()
    }
    scaled = {n: t * scale if t.is_floating_point() else t for n, t in plain.items()}
    before, after = (value_of(loss, TensorBatch(**fields), layer) for fields in (plain, scaled))
    assert torch.allclose(before, after, rtol=1e-4)  # float32 rounding of the scaled rows


def bank_of(vectors: int) -> Tensor:
    rows = np.random.default_rng(9).standard_normal((vectors, 6))
    return unit_rows(torch.tensor(rows, dtype=torch.float64))


def test_distil_is_the_divergence_of_two_softmaxes() -> None:
    rows, layer, bank = random_rows(4), make_layer(), bank_of(7)
    full = F.softmax(unit_rows(rows) @ bank.T / 0.05, dim=-1)
    small = F.log_softmax(unit_rows(layer(rows)) @ unit_rows(layer(bank)).T / 0.05, dim=-1)
    batch = TensorBatch(hidden_states=rows, bank=bank)
    expected = F.kl_div(small, full, reduction="batchmean")
    assert torch.allclose(value_of(loss_of({"type": "distil"}), batch, layer), expected, rtol=1e-9)


def test_distil_without_a_bank_compares_with_the_other_rows() -> None:
    rows, layer = random_rows(4), make_layer()
    rows[1] = 0  # has no direction, and is itself all the same
    torch.nn.init.constant_(layer.get_parameter("bias"), 0.5)
    units, small = unit_rows(rows), unit_rows(layer(rows))
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        rest = [j for j in range(4) if j != i]
        wanted = F.softmax(units[rest] @ units[i] / 0.05, dim=-1)
        found = F.log_softmax(small[rest] @ small[i] / 0.05, dim=-1)
        expected = expected + F.kl_div(found, wanted, reduction="sum") / 4
    value = value_of(loss_of({"type": "distil"}), TensorBatch(hidden_states=rows), layer)
    assert torch.allclose(value, expected, rtol=1e-9)


def test_distil_leaves_out_what_the_bank_holds_of_the_rows_themselves() -> None:
    rows, layer, bank = random_rows(4), make_layer(), bank_of(7)
    loss, seen = loss_of({"type": "distil"}), unit_rows(3 * rows[:1])
    without, with_seen = (
        value_of(loss, TensorBatch(hidden_states=rows[:1], bank=candidates), layer)
        for candidates in (bank, torch.cat([bank, seen]))
    )
    assert torch.allclose(without, with_seen, rtol=1e-12)  # a sum with a zero in it


def test_distil_with_a_bank_has_the_gradient_of_finite_differences() -> None:
    layer, rows = make_layer(), random_rows(4)
    batch = TensorBatch(hidden_states=rows, bank=bank_of(7), sample_weights=torch.rand(4).double())
    loss = loss_of({"type": "distil"})
    assert torch.autograd.gradcheck(
        lambda *_: value_of(loss, batch, layer), tuple(layer.parameters())
    )


def test_contrastive_is_the_cross_entropy_of_both_ways() -> None:
    layer, loss = make_layer(), loss_of({"type": "contrastive"})
    batch = make_batch(loss, random_rows(5))
    assert batch.positives is not None
    assert batch.negatives is not None
    z, p, n = (unit_rows(layer(t)) for t in (batch.hidden_states, batch.positives, batch.negatives))
    own = torch.arange(5)
    there = F.cross_entropy(20 * z @ torch.cat([p, n]).T, own)
    back = F.cross_entropy(20 * p @ z.T, own)
    assert torch.allclose(value_of(loss, batch, layer), (there + back) / 2, rtol=1e-9)


def test_contrastive_takes_no_row_of_the_same_positive_for_a_negative() -> None:
    layer, loss = make_layer(), loss_of({"type": "contrastive"})
    rows = random_rows(2)
    same = TensorBatch(hidden_states=rows, positives=rows[:1].repeat(2, 1))
    assert value_of(loss, same, layer).item() == 0


def test_the_reservoir_joins_the_negatives_of_both_sides_without_the_pair_itself() -> None:
    layer, loss = make_layer(), loss_of({"type": "contrastive", "uses_reservoir": True})
    rows, positives, others = torch.split(unit_rows(random_rows(15)), 5)
    bank = torch.cat([others, rows[2:3], positives[4:]])
    z, p, c = (unit_rows(layer(vectors)) for vectors in (rows, positives, bank))
    own = torch.arange(5)
    is_own = torch.zeros(5, 7, dtype=torch.bool)
    is_own[2, 5] = is_own[4, 6] = True
    expected = sum(
        F.cross_entropy(
            torch.cat([20 * a @ b.T, (20 * a @ c.T).masked_fill(is_own, -math.inf)], dim=1), own
        )
        for a, b in ((z, p), (p, z))
    )
    batch = TensorBatch(hidden_states=rows, positives=positives, bank=bank)
    torch.testing.assert_close(value_of(loss, batch, layer) * 2, expected, rtol=1e-6, atol=0)


def test_a_reservoir_is_no_negative_unless_asked_for() -> None:
    layer, loss = make_layer(), loss_of({"type": "contrastive"})
    rows, positives, bank = torch.split(unit_rows(random_rows(15)), 5)
    batch = TensorBatch(hidden_states=rows, positives=positives)
    with_bank = replace(batch, bank=bank)
    assert value_of(loss, with_bank, layer) == value_of(loss, batch, layer)


def test_triplet_is_that_of_torch() -> None:
    layer, loss = make_layer(), loss_of({"type": "triplet", "distance": "euclidean", "margin": 1})
    batch = make_batch(loss, random_rows(5))
    assert batch.positives is not None
    assert batch.negatives is not None
    z, p, n = (layer(t) for t in (batch.hidden_states, batch.positives, batch.negatives))
    expected = F.triplet_margin_loss(z, p, n, margin=1, eps=0)
    assert torch.allclose(value_of(loss, batch, layer), expected, rtol=1e-12)


def test_triplet_of_labels_takes_the_hardest_of_the_batch() -> None:
    rows = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    batch = TensorBatch(hidden_states=torch.eye(4), labels=torch.tensor([0, 0, 1, 0]))
    loss = loss_of({"type": "triplet", "mining": "batch_hard", "distance": "euclidean"})
    # row 0: 4 - 3, row 1: 3 - 2, row 3: 4 - 1, each with the margin of .2; row 2 has no positive
    assert loss(batch, rows, whole(make_layer())).item() == pytest.approx(5 / 3 + 0.2)


def test_supervised_contrastive_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    batch = TensorBatch(hidden_states=rows, labels=torch.tensor([0, 0, 1]))
    loss = loss_of({"type": "supervised_contrastive", "temperature": 1})
    # logits to the two others: row 0: 0 and -1; row 1: 0 and 0; row 2 has no positive
    expected = (np.log(1 + np.exp(-1)) + np.log(2)) / 2
    assert loss(batch, rows, whole(make_layer())).item() == pytest.approx(expected)


def test_decorrelation_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    positives = torch.tensor([[3.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    loss = loss_of({"type": "decorrelation", "redundancy": 0.5})
    alone = loss(TensorBatch(hidden_states=rows), rows, whole(torch.nn.Identity()))
    assert alone.item() == pytest.approx(0.5 * 2 / 2)  # both components say the same
    paired = TensorBatch(hidden_states=rows, positives=positives)
    # correlations -1 (own), 0 (constant), and -1 across with the first one
    value = loss(paired, rows, whole(torch.nn.Identity()))
    assert value.item() == pytest.approx((4 + 1 + 0.5 * 1) / 2)


def test_components_that_differ_by_rounding_only_have_no_correlation() -> None:
    rows, weights = torch.full((5, 2), 0.1), 1 / torch.arange(1.0, 6.0)
    batch = TensorBatch(hidden_states=rows, sample_weights=weights)
    assert loss_of({"type": "decorrelation"})(batch, rows, whole(make_layer())).item() == 0


def test_weight_zero_is_no_candidate_at_the_lowest_temperature() -> None:
    rows, loss = random_rows(6), loss_of({"type": "distil", "temperature": 0.001})
    weights, layer = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]), make_layer()
    weighted = value_of(loss, TensorBatch(hidden_states=rows, sample_weights=weights), layer)
    fewer = value_of(loss, TensorBatch(hidden_states=rows[1:]), layer)
    assert torch.allclose(weighted, fewer, rtol=1e-6)  # the weights are float32


def test_procrustes_is_what_the_best_map_and_scale_leave() -> None:
    rows = random_rows(8)
    reduced, targets = rows[:, :3], torch.sin(rows)[:, 1:6]
    u, _, vh = torch.linalg.svd(reduced.T @ targets, full_matrices=False)
    turned = reduced @ u @ vh
    scale = (turned * targets).sum() / turned.square().sum()
    expected = (scale * turned - targets).square().sum() / targets.square().sum()
    batch = TensorBatch(hidden_states=rows, targets=targets)
    value = loss_of({"type": "procrustes"})(batch, reduced, whole(make_layer()))
    assert torch.allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["procrustes", "relation"])
def test_a_rotation_and_scale_of_the_targets_change_nothing(name: str) -> None:
    loss, layer, rows = loss_of({"type": name}), make_layer(), random_rows(8)
    turn = torch.linalg.qr(random_rows(6))[0]
    plain = value_of(loss, TensorBatch(hidden_states=rows, targets=rows), layer)
    turned = value_of(loss, TensorBatch(hidden_states=rows, targets=7 * rows @ turn), layer)
    assert torch.allclose(turned, plain, rtol=1e-9)


def test_weighted_is_the_sum_of_its_parts() -> None:
    layer, rows = make_layer(), random_rows(5)
    parts = [{"type": "distil", "weight": 2}, {"type": "similarity"}]
    batch = TensorBatch(hidden_states=rows)
    value = value_of(loss_of({"type": "weighted", "losses": parts}), batch, layer)
    one, other = (value_of(loss_of({"type": n}), batch, layer) for n in ("distil", "similarity"))
    assert torch.allclose(value, 2 * one + other, rtol=1e-12)


def test_nested_is_the_mean_over_layers_cut_short() -> None:
    layer, rows = make_layer(), random_rows(5)
    loss = loss_of({"type": "nested", "loss": "contrastive", "dimensions": [1, 3]})
    batch = make_batch(loss, rows)
    short = torch.nn.Linear(6, 1).double()
    tensors = layer.state_dict()
    short.load_state_dict({"weight": tensors["Q_reduced"][:1], "bias": tensors["bias"][:1]})
    inner = loss_of({"type": "contrastive"})
    expected = (value_of(inner, batch, short) + value_of(inner, batch, layer)) / 2
    assert torch.allclose(value_of(loss, batch, layer), expected, rtol=1e-12)


def test_nested_reduces_each_tensor_once() -> None:
    layer, calls = make_layer(), list[int]()
    layer.register_forward_hook(lambda *_: calls.append(1))
    loss = loss_of({"type": "nested", "loss": "contrastive", "dimensions": [1, 2, 3]})
    value_of(loss, make_batch(loss, random_rows(5)), layer)
    assert len(calls) == 3  # rows, positives, negatives


def test_unit_rows_have_the_bits_of_torch_normalize_at_ordinary_scale() -> None:
    rows = torch.randn(64, 384) * torch.logspace(-5, 5, 64)[:, None]
    rows[3] = 0
    assert torch.equal(unit_rows(rows), F.normalize(rows, dim=-1))


@pytest.mark.parametrize("magnitude", [1e-45, 1e-38, 1e-20, 1e19, 3e38])
def test_unit_rows_have_length_one_where_squares_overflow(magnitude: float) -> None:
    assert torch.equal(unit_rows(torch.tensor([[magnitude, 0.0]])), torch.tensor([[1.0, 0.0]]))


def test_unknown_loss_names_the_allowed_ones() -> None:
    with pytest.raises(
        ConfigInvalid, match="unknown loss 'msee'; expected one of: mse, "
    ) as refusal:
        build_loss(Component(type="msee"))
    assert refusal.value.pointer == "/loss/type"


def test_unknown_argument_is_refused_with_its_pointer() -> None:
    component = Component.model_validate({"type": "mse", "temperature": 1.0})
    with pytest.raises(ConfigInvalid, match="expected one of: none") as refusal:
        build_loss(component, pointer="/x")
    assert refusal.value.pointer == "/x/temperature"


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"type": "distil", "temperature": 0}, "/temperature"),
        ({"type": "distil", "temperature": True}, "/temperature"),
        ({"type": "contrastive", "scale": "20"}, "/scale"),
        ({"type": "contrastive", "scale": float("inf")}, "/scale"),
        ({"type": "triplet", "mining": "hard"}, "/mining"),
        ({"type": "nested", "loss": "mse"}, "/dimensions"),
        ({"type": "nested", "loss": "mse", "dimensions": 3}, "/dimensions"),
        ({"type": "nested", "loss": "mse", "dimensions": []}, "/dimensions"),
        ({"type": "nested", "loss": "mse", "dimensions": [2, 0]}, "/dimensions/1"),
        ({"type": "nested", "loss": "mse", "dimensions": [2, 2]}, "/dimensions"),
        ({"type": "nested", "loss": "mse", "dimensions": [1], "weights": [1, 1]}, "/weights"),
        ({"type": "nested", "loss": "msee", "dimensions": [1]}, "/loss/type"),
        (
            {"type": "nested", "dimensions": [1], "loss": {"type": "distil", "temperature": 0}},
            "/loss/temperature",
        ),
        (
            {
                "type": "nested",
                "dimensions": [1],
                "loss": {"type": "nested", "loss": "mse", "dimensions": [1]},
            },
            "/loss/type",
        ),
        ({"type": "weighted", "losses": []}, "/losses"),
        ({"type": "weighted", "losses": ["mse", "msee"]}, "/losses/1/type"),
        ({"type": "weighted", "losses": [{"type": "mse", "weight": 0}]}, "/losses/0/weight"),
        ({"type": "weighted", "losses": [7]}, "/losses/0"),
        (
            {"type": "weighted", "losses": [{"type": "weighted", "losses": ["mse"]}]},
            "/losses/0/type",
        ),
    ],
)
def test_bad_argument_is_refused_with_its_pointer(arguments: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        loss_of(arguments)
    assert refusal.value.pointer == f"/loss{pointer}"


CONFIG = ModelConfig.model_validate(
    {"input_size": 4, "layers": [{"type": "QRReduction", "n_components": 3}]}
)


def _batch(hidden: tuple[int, ...], targets: tuple[int, ...] | None, weights: object) -> Batch:
    return Batch(
        hidden_states=np.ones(hidden, np.float32),
        targets=None if targets is None else np.ones(targets, np.float32),
        sample_weights=None if weights is None else np.asarray(weights, np.float32),
    )


def _with(**fields: object) -> Batch:
    """Two rows, with further fields: a shape means ones of that shape."""
    arrays: dict[str, Any] = {
        name: np.ones(value, np.float32) if isinstance(value, tuple) else np.float32(value)  # type: ignore[arg-type]  # numbers
        for name, value in fields.items()
    }
    return Batch(hidden_states=np.ones((2, 4), np.float32), **arrays)


@pytest.mark.parametrize(
    ("name", "batch", "code", "pointer"),
    [
        ("mse", _batch((8, 4), None, None), "missing_field", "/targets"),
        ("similarity", _batch((8, 4), (8, 3), None), "field_not_used", "/targets"),
        ("mse", _batch((8, 4), (8, 1), None), "target_shape_mismatch", "/targets"),
        ("mse", _batch((8, 4), (8,), None), "target_shape_mismatch", "/targets"),
        ("mse", _batch((8, 4), (1, 3), None), "target_shape_mismatch", "/targets"),
        ("mse", _batch((2, 4, 4), (8, 3), None), "target_shape_mismatch", "/targets"),
        ("mse", _batch((4,), (1, 3), None), "target_shape_mismatch", "/targets"),
        ("mse", _batch((2, 4), (2, 3), [1]), "sample_weights_invalid", "/sample_weights"),
        ("mse", _batch((2, 4), (2, 3), [[1], [1]]), "sample_weights_invalid", "/sample_weights"),
        ("mse", _batch((2, 4), (2, 3), [1, -1e-9]), "sample_weights_invalid", "/sample_weights/1"),
        ("mse", _batch((2, 4), (2, 3), [1, "nan"]), "sample_weights_invalid", "/sample_weights/1"),
        ("mse", _batch((2, 4), (2, 3), [0, -0.0]), "sample_weights_invalid", "/sample_weights"),
        ("relation", _with(targets=(3, 9)), "target_shape_mismatch", "/targets"),
        ("procrustes", _with(targets=(2,)), "target_shape_mismatch", "/targets"),
        ("contrastive", _with(), "missing_field", "/positives"),
        ("contrastive", _with(positives=(2, 4), labels=(2,)), "field_not_used", "/labels"),
        ("contrastive", _with(positives=(1, 4)), "shape_mismatch", "/positives"),
        ("contrastive", _with(positives=(2, 3)), "shape_mismatch", "/positives"),
        ("contrastive", _with(positives=(2, 4), negatives=(8,)), "shape_mismatch", "/negatives"),
        ("triplet", _with(positives=(2, 4)), "missing_field", "/negatives"),
        ("similarity", _with(positives=(2, 4)), "field_not_used", "/positives"),
        ("cross_entropy", _with(labels=(2, 1)), "labels_invalid", "/labels"),
        ("cross_entropy", _with(labels=[0, 0.5]), "labels_invalid", "/labels/1"),
        ("cross_entropy", _with(labels=[0, -1]), "labels_invalid", "/labels/1"),
        ("cross_entropy", _with(labels=[0, 3]), "labels_invalid", "/labels/1"),
        ("supervised_contrastive", _with(labels=[0, 2.0**24]), "labels_invalid", "/labels/1"),
    ],
)
def test_batch_that_does_not_fit_is_refused(
    name: str, batch: Batch, code: str, pointer: str
) -> None:
    with pytest.raises(Unacceptable) as refusal:
        check_batch(build_loss(Component(type=name)), batch, CONFIG)
    assert (refusal.value.code, refusal.value.pointer) == (code, pointer)


@pytest.mark.parametrize("leading", [(4097,), (2, 2049), (64, 65, 1)])
def test_similarity_refuses_more_pairs_than_memory_is_meant_for(leading: tuple[int, ...]) -> None:
    with pytest.raises(TooLarge) as refusal:
        check_batch(
            build_loss(Component(type="similarity")), _batch((*leading, 4), None, None), CONFIG
        )
    assert refusal.value.detail.startswith("loss 'similarity' compares every pair of rows: ")
    assert refusal.value.detail.endswith("; send smaller batches")


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("reconstruction", _batch((8192, 4), None, None)),
        ("similarity", _batch((4, 1024, 4), None, None)),
        ("mse", _batch((8, 4), (8, 3), [1] * 8)),
        ("mse", _batch((2, 4, 4), (2, 4, 3), np.ones((2, 4)))),
        ("cosine", _batch((4,), (3,), 1.0)),
        ("similarity", _batch((2, 4), None, [0, 1e-45])),
        ("relation", _batch((2, 4, 4), (2, 4, 9), None)),
        ("contrastive", _with(positives=(2, 4), negatives=(2, 4))),
        ("cross_entropy", _with(labels=[0, 2])),
        ("supervised_contrastive", _with(labels=[0, 2.0**24 - 1])),
    ],
)
def test_batch_with_any_leading_dimensions_fits(name: str, batch: Batch) -> None:
    check_batch(build_loss(Component(type=name)), batch, CONFIG)


@pytest.mark.parametrize(
    ("loss", "batch"),
    [
        ({"type": "nested", "loss": "distil", "dimensions": [1, 4]}, _with()),
        (
            {"type": "weighted", "losses": [{"type": "nested", "loss": "mse", "dimensions": [4]}]},
            _with(targets=(2, 3)),
        ),
    ],
)
def test_loss_of_more_components_than_there_are_is_refused(
    loss: dict[str, Any], batch: Batch
) -> None:
    with pytest.raises(
        ConfigInvalid, match="at most n_components \\(3\\) dimensions, got one of 4"
    ):
        check_batch(loss_of(loss), batch, CONFIG)


def test_labels_of_nested_classes_fit_the_shortest_prefix() -> None:
    loss = loss_of({"type": "nested", "loss": "cross_entropy", "dimensions": [2, 3]})
    check_batch(loss, _with(labels=[0, 1]), CONFIG)
    with pytest.raises(Unacceptable, match="from 0 to 1"):
        check_batch(loss, _with(labels=[0, 2]), CONFIG)


@pytest.mark.parametrize("name", ["dimensions", "weights"])
def test_of_the_lists_of_nested_only_the_first_wrong_entry_is_looked_at(name: str) -> None:
    """A megabyte of wrong entries would hold the event loop for seconds."""
    arguments = {"loss": "mse", "dimensions": [2], name: ["a"] * 1000}
    with pytest.raises(ConfigInvalid) as refused:
        build_loss(of_type("nested", **arguments))
    found = refused.value.__context__
    assert isinstance(found, ValidationError)
    assert found.error_count() < 10
