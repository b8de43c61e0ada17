"""How a model gets into the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.engine import Engine, choose_device
from app.errors import Conflict
from app.service.first_versions import FirstVersions
from app.settings import Settings
from app.storage.repository import Repository

ROWS = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)


def test_an_import_of_the_same_weights_is_nothing_to_do_and_of_others_a_conflict(
    tmp_path: Path,
) -> None:
    (root := tmp_path / "models").mkdir()
    np_file = tmp_path / "layer.safetensors"
    save_file({"Q": ROWS[:2].copy()}, np_file)
    engine = Engine(choose_device("cpu"), Settings(models_dir=root))
    first_versions = FirstVersions(engine, Repository(root))
    assert first_versions.import_file(np_file, "m").key == "Q"
    assert first_versions.import_file(np_file, "m").key == "Q"
    save_file({"Q": ROWS[1:3].copy()}, np_file)
    with pytest.raises(Conflict, match="other weights"):
        first_versions.import_file(np_file, "m")
