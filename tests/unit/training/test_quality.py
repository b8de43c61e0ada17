"""Live quality: neighbours of the reservoir, and where the weights lie among the moments."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from app.config import ModelConfig, parse_config
from app.layers import build, folded
from app.training.observed import ObservedState
from app.training.quality import take_quality
from app.training.remembered import Remembered
from app.types import QualityDescription
from tests.checks.neighbours import kept_by_hand

WIDTH, COMPONENTS, VECTORS = 10, 3, 80
CONFIG = parse_config(
    {"input_size": WIDTH, "layers": [{"type": "QRReduction", "n_components": COMPONENTS}]}
)


def observed(vectors: int = VECTORS, *, times: int = 1) -> ObservedState:
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(vectors, WIDTH, generator=generator) * torch.linspace(3, 0.3, WIDTH)
    units = rows / rows.norm(dim=1, keepdim=True)
    empty = ObservedState.empty(WIDTH, reservoir=256, held_out=32)
    kept = empty.reservoir.newest(units.repeat(times, 1))
    return ObservedState(
        moments=empty.moments.extended(units), reservoir=kept, held_out=empty.held_out
    )


def remembered(times: int = 1) -> Remembered:
    found = Remembered.of(observed(times=times), torch.device("cpu"))
    assert found is not None
    return found


def quality(weight: Tensor, config: ModelConfig = CONFIG) -> QualityDescription:
    return take_quality(config, {"Q_reduced": weight}, remembered(), version=4, at="now")


def leading() -> Tensor:
    vectors: Tensor = torch.linalg.eigh(observed().moments.second.mean()).eigenvectors
    return vectors[:, -COMPONENTS:].mT.float().contiguous()


def test_recall_is_of_the_nearest_ten_in_the_reservoir() -> None:
    rows, weight = observed().reservoir.rows.tensor(), torch.eye(WIDTH)[:COMPONENTS]
    found = quality(weight)
    assert (found.version, found.at, found.queries) == (4, "now", VECTORS)
    assert found.recall10 == pytest.approx(kept_by_hand(rows, weight))
    assert 0 < found.recall10_low < found.recall10 < found.recall10_high < 1


def test_all_components_keep_everything() -> None:
    config = parse_config(
        {"input_size": WIDTH, "layers": [{"type": "QRReduction", "n_components": WIDTH}]}
    )
    found = quality(torch.eye(WIDTH), config)
    assert found.recall10 == 1
    assert found.explained_variance == pytest.approx(1)


def test_the_leading_eigenvectors_are_the_best_subspace() -> None:
    found = quality(leading())
    assert found.captured_energy == pytest.approx(1)
    assert found.largest_angle_deg == pytest.approx(0, abs=1e-4)  # the weight is float32
    assert found.orthonormality_error == pytest.approx(0, abs=1e-6)


def test_explained_variance_is_trace_of_q_c_q_over_trace_of_c() -> None:
    weight, moment = torch.eye(WIDTH)[2:5], observed().moments.second.mean()
    found = quality(weight)
    q = weight.double()
    assert found.explained_variance == pytest.approx(float((q @ moment @ q.mT).trace()))
    assert found.captured_energy is not None
    assert found.captured_energy < 1


def test_another_basis_of_the_same_rows_lies_in_the_same_place() -> None:
    weight = torch.eye(WIDTH)[2:5]
    mixed = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.1, 0.0, 3.0]]) @ weight
    first, second = quality(weight), quality(mixed)
    for name in ("explained_variance", "captured_energy", "largest_angle_deg"):
        assert getattr(second, name) == pytest.approx(getattr(first, name))
    assert second.orthonormality_error == pytest.approx(8.01)


def test_a_right_angle_is_one() -> None:
    away = torch.linalg.eigh(observed().moments.second.mean()).eigenvectors[:, :COMPONENTS]
    assert quality(away.mT.float().contiguous()).largest_angle_deg == pytest.approx(90)


def test_it_is_the_same_again_and_changes_nothing() -> None:
    weight = leading()
    before, state = weight.clone(), remembered()
    tensors = {"Q_reduced": weight}
    twice = [take_quality(CONFIG, tensors, state, version=1, at="") for _ in range(2)]
    assert twice[0] == twice[1]
    assert torch.equal(weight, before)


def test_too_few_vectors_say_nothing() -> None:
    assert Remembered.of(observed(31), torch.device("cpu")) is None
    assert Remembered.of(observed(32), torch.device("cpu")) is not None


def test_a_vector_that_came_often_is_one_neighbour() -> None:
    once, often = (
        take_quality(CONFIG, {"Q_reduced": leading()}, remembered(times), version=1, at="")
        for times in (1, 3)
    )
    assert once == often
    assert once.recall10 < 1


def test_several_layers_have_neighbours_and_no_subspace() -> None:
    layers = [{"type": "LayerNorm"}, {"type": "QRReduction", "n_components": COMPONENTS}]
    config = parse_config({"input_size": WIDTH, "layers": layers, "recipe": "plain"})
    found = take_quality(config, folded(build(config)), remembered(), version=1, at="")
    known = {name for name, value in asdict(found).items() if value is None}
    assert found.recall10 > 0
    assert known == {
        *("explained_variance", "captured_energy"),
        *("largest_angle_deg", "orthonormality_error"),
    }
