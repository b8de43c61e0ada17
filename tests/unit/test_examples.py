from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_train_a_layer_prints_shapes_and_a_falling_loss() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "train_a_layer.py")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    layer, shapes, before, after = result.stdout.splitlines()
    assert layer == "QRReduction(input_size=16, n_components=4, bias=False, parametrization=none)"
    assert shapes == "hidden_states (8, 32, 16) -> reduced (8, 32, 4)"
    assert float(before.removeprefix("loss before ")) > 1
    assert float(after.removeprefix("loss after ")) < 0.001
