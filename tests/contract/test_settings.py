"""Settings: one source for variables, flags and docs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from app.cli import main, read_settings
from app.settings import ENV_PREFIX, Settings

_DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", _DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def help_text() -> str:
    result = CliRunner().invoke(main, ["serve", "--help"], terminal_width=200)
    assert result.exit_code == 0
    return result.output


def test_the_generated_pages_are_those_that_the_code_makes(generator: ModuleType) -> None:
    for name, text in generator.render().items():
        assert (_DOCS / name).read_text(encoding="utf-8") == text, f"run make generate: {name}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_a_flag_and_in_the_docs(
    name: str, help_text: str, generator: ModuleType
) -> None:
    flag, variable = f"--{name.replace('_', '-')}", f"{ENV_PREFIX}{name.upper()}"
    description = Settings.model_fields[name].description or ""
    page = generator.render()["settings.md"]
    assert len(description) > 10
    assert re.search(rf"^  {flag}[ /]", help_text, re.MULTILINE)
    assert variable in help_text
    assert f"| `{variable}` | `{flag}` |" in page
    assert description in page


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLIMVEC_PORT", "9001")
    assert read_settings({"port": "9002"}).port == 9002
    assert read_settings({"port": None}).port == 9001
    monkeypatch.delenv("SLIMVEC_PORT")
    assert read_settings({}).port == 8000


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--port", "70000"), ("--device", "gpu"), ("--dtype", "int8"), ("--log-level", "loud")],
)
def test_a_wrong_value_ends_with_code_2_and_names_flag_and_variable(flag: str, value: str) -> None:
    result = CliRunner().invoke(main, ["serve", flag, value])
    assert result.exit_code == 2
    assert flag in result.output
    assert f"{ENV_PREFIX}{flag[2:].replace('-', '_').upper()}" in result.output
