"""What a refusal advises is done here, and the file is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.parametrizations import orthogonal
from torch.nn.utils.parametrize import remove_parametrizations

from app.errors import ArtifactInvalid
from app.exchange import read_state_dict
from app.layers import QRReduction
from tests.unit.exchange.examples import save


@pytest.mark.parametrize("view", [torch.ones(8, 3).T, torch.ones(10, 8)[:3]])
def test_a_view_is_read_once_it_was_copied_as_the_message_says(
    tmp_path: Path, view: torch.Tensor
) -> None:
    layer = read_state_dict(save(tmp_path / "layer.pt", {"Q": view.contiguous().clone()}))
    np.testing.assert_array_equal(layer.Q_reduced, view.numpy())


def test_our_orthogonal_layer_is_read_once_it_was_folded_as_the_message_says(
    tmp_path: Path,
) -> None:
    layer, path = QRReduction(3, 8, parametrization="orthogonal"), tmp_path / "layer.pt"
    weight = layer.Q_reduced.detach().numpy().copy()
    with pytest.raises(ArtifactInvalid, match=r'remove_parametrizations\(layer, "Q_reduced"\)'):
        read_state_dict(save(path, layer.state_dict()))
    remove_parametrizations(layer, "Q_reduced")
    np.testing.assert_array_equal(read_state_dict(save(path, layer.state_dict())).Q_reduced, weight)


def test_torchs_own_orthogonal_layer_is_refused_for_being_parametrized(tmp_path: Path) -> None:
    path = save(tmp_path / "layer.pt", orthogonal(torch.nn.Linear(8, 3)).state_dict())
    with pytest.raises(ArtifactInvalid, match="a parametrized 'weight'; fold it"):
        read_state_dict(path)


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_name_is_refused_with_what_is_expected(path: str) -> None:
    with pytest.raises(ArtifactInvalid, match=r"^expected the path of a file .*\.safetensors"):
        read_state_dict(Path(path))
