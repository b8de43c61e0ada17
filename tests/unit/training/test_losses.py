from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from app.config import Component
from app.errors import ConfigInvalid, TooLarge, Unacceptable
from app.training.batch import TensorBatch
from app.training.losses import LOSSES, build_loss, check_batch
from app.training.rows import unit_rows
from app.types import Batch
from tests.checks.losses import LossChecks, make_layer, random_rows


class TestEveryLoss(LossChecks):
    pass


def test_registry_holds_exactly_these() -> None:
    assert list(LOSSES) == ["cosine", "mse", "reconstruction", "similarity"]


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("cosine", frozenset({"targets"})),
        ("mse", frozenset({"targets"})),
        ("reconstruction", frozenset()),
        ("similarity", frozenset()),
    ],
)
def test_fields_that_a_loss_needs(name: str, needs: frozenset[str]) -> None:
    loss = build_loss(Component(type=name))
    assert (loss.needs, loss.accepts) == (needs, frozenset({"sample_weights"}))


def test_values_by_hand() -> None:
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    z, t = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [1.0]])
    batch = TensorBatch(hidden_states=x, targets=t)
    layer = make_layer()
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
    value = build_loss(Component(type="reconstruction"))(
        TensorBatch(hidden_states=rows), reduced, layer
    )
    assert torch.allclose(value, expected, rtol=1e-12)  # float64 sums in another order


def test_reconstruction_refuses_a_layer_that_cannot_map_back() -> None:
    rows, layer = torch.ones(2, 6), torch.nn.Linear(6, 3)
    with pytest.raises(ConfigInvalid, match="maps back"):
        build_loss(Component(type="reconstruction"))(
            TensorBatch(hidden_states=rows), layer(rows), layer
        )


def test_mse_without_weights_has_the_bits_of_torch() -> None:
    z, t = torch.randn(64, 32), torch.randn(64, 32)
    batch = TensorBatch(hidden_states=torch.zeros(64, 2), targets=t)
    assert torch.equal(build_loss(Component(type="mse"))(batch, z, make_layer()), F.mse_loss(z, t))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e19, 1e30])
def test_similarity_does_not_see_the_scale_of_hidden_states(scale: float) -> None:
    rows, layer = random_rows(5).float(), make_layer(bias=False).float()
    loss = build_loss(Component(type="similarity"))
    scaled = loss(TensorBatch(hidden_states=rows * scale), layer(rows * scale), layer)
    plain = loss(TensorBatch(hidden_states=rows), layer(rows), layer)
    assert torch.allclose(scaled, plain, rtol=1e-5)  # float32 rounding of the scaled rows


def test_unit_rows_have_the_bits_of_torch_normalize_at_ordinary_scale() -> None:
    rows = torch.randn(64, 384) * torch.logspace(-5, 5, 64)[:, None]
    rows[3] = 0
    assert torch.equal(unit_rows(rows), F.normalize(rows, dim=-1))


@pytest.mark.parametrize("magnitude", [1e-45, 1e-38, 1e-20, 1e19, 3e38])
def test_unit_rows_have_length_one_where_squares_overflow(magnitude: float) -> None:
    assert torch.equal(unit_rows(torch.tensor([[magnitude, 0.0]])), torch.tensor([[1.0, 0.0]]))


def test_unknown_loss_names_the_allowed_ones() -> None:
    with pytest.raises(ConfigInvalid, match="cosine, mse, reconstruction, similarity") as refusal:
        build_loss(Component(type="msee"))
    assert refusal.value.pointer == "/loss/type"


def test_unknown_argument_is_refused_with_its_pointer() -> None:
    component = Component.model_validate({"type": "mse", "temperature": 1.0})
    with pytest.raises(ConfigInvalid, match="expected one of: none") as refusal:
        build_loss(component, pointer="/x")
    assert refusal.value.pointer == "/x/temperature"


def _batch(hidden: tuple[int, ...], targets: tuple[int, ...] | None, weights: object) -> Batch:
    return Batch(
        hidden_states=np.ones(hidden, np.float32),
        targets=None if targets is None else np.ones(targets, np.float32),
        sample_weights=None if weights is None else np.asarray(weights, np.float32),
    )


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
        ("mse", _batch((2, 4), (2, 3), [1, -1e-9]), "sample_weights_invalid", "/sample_weights"),
        ("mse", _batch((2, 4), (2, 3), [1, "nan"]), "sample_weights_invalid", "/sample_weights"),
        ("mse", _batch((2, 4), (2, 3), [0, -0.0]), "sample_weights_invalid", "/sample_weights"),
    ],
)
def test_batch_that_does_not_fit_is_refused(
    name: str, batch: Batch, code: str, pointer: str
) -> None:
    with pytest.raises(Unacceptable) as refusal:
        check_batch(build_loss(Component(type=name)), batch, 3)
    assert (refusal.value.code, refusal.value.pointer) == (code, pointer)


@pytest.mark.parametrize("leading", [(4097,), (2, 2049), (64, 65, 1)])
def test_similarity_refuses_more_pairs_than_memory_is_meant_for(leading: tuple[int, ...]) -> None:
    with pytest.raises(TooLarge) as refusal:
        check_batch(build_loss(Component(type="similarity")), _batch((*leading, 4), None, None), 3)
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
    ],
)
def test_batch_with_any_leading_dimensions_fits(name: str, batch: Batch) -> None:
    check_batch(build_loss(Component(type=name)), batch, 3)
