"""What others may rely on: the console script and the layer library."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from subprocess import run

import pytest
import torch
from click.testing import CliRunner

import app.layers
from app import __version__
from app.cli import main

LAYERS_API = {
    "INITIALISERS", "KINDS", "NO_CONTEXT", "ORTHONORMALITY_TOLERANCE", "PARAMETRIZATIONS",
    "Context", "Declared", "Initialiser", "Kind", "Parametrization", "Penalised", "QRReduction",
    "Shape", "assign", "attach", "branches", "build", "declare_all", "declared_once", "drawn",
    "draws", "fixed", "folded", "forward", "input_shape", "is_fixed", "is_lone_reduction",
    "num_weights", "orthonormality_error", "output_shape", "penalised", "plain", "product",
    "read_initialiser", "read_parametrization", "retract_", "warnings",
}  # fmt: skip


def test_the_console_script_is_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="slimvec")
    assert script.load() is main


@pytest.mark.parametrize(
    "command",
    [[str(Path(sys.executable).with_name("slimvec"))], [sys.executable, "-m", "app"]],
    ids=["script", "module"],
)
def test_help_lists_the_verbs_of_an_operator(command: list[str]) -> None:
    result = run([*command, "--help"], capture_output=True, text=True, check=True)
    listed = result.stdout.partition("Commands:")[2].split("\n")
    verbs = [line.split()[0] for line in listed if line.strip()]
    wanted = "align compare fit import journal keys repair serve train verify"
    assert verbs == wanted.split()


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert __version__ in result.output


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, app.cli; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_looking_at_the_disk_does_not_wait_for_torch(tmp_path: Path) -> None:
    for command in ("journal", "verify"):
        flags = f"['{command}', 'm', '--models-dir', {str(tmp_path)!r}], standalone_mode=False"
        end = f"try: app.cli.main({flags})\nexcept SystemExit: sys.exit('torch' in sys.modules)"
        code = f"import sys, app.cli\n{end}"
        assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_layer_library_exports_what_it_says() -> None:
    assert set(app.layers.__all__) == LAYERS_API
    assert app.layers.__all__ == sorted(app.layers.__all__, key=_isort_key)
    assert all(hasattr(app.layers, name) for name in LAYERS_API)
    assert issubclass(app.layers.QRReduction, torch.nn.Module)


def _isort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
