"""What is in the image, and what must not be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.image import engine

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]

# The packages take 1.0 GB of it, torch alone 0.75; CUDA wheels would make it 5.
SIZE_LIMIT = 1_300_000_000


@pytest.fixture(scope="module")
def inspected(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.run("podman", "image", "inspect", image))[0]
    return found


def python(image: str, code: str) -> str:
    """Runs Python code in a new container of the image, as its user and without a network."""
    return engine.run(
        *("podman", "run", "--rm", "--network=none", "--no-healthcheck", "--entrypoint="),
        *(image, "/venv/bin/python", "-c", code),
    ).strip()


def test_the_server_is_started_without_a_shell_as_a_numbered_user(
    inspected: dict[str, Any],
) -> None:
    config = inspected["Config"]
    assert {name: config[name] for name in ("User", "Entrypoint", "Cmd", "StopSignal")} == {
        "User": "10001:10001",
        "Entrypoint": ["/venv/bin/python", "-IBu", "/venv/bin/slimvec"],
        "Cmd": ["serve"],
        "StopSignal": "SIGTERM",
    }
    assert (list(config["ExposedPorts"]), list(config["Volumes"])) == (["8000/tcp"], ["/models"])


def test_a_container_without_keys_refuses_to_start_and_says_how_to_make_one(image: str) -> None:
    options = ("--rm", "--network=none", "--no-healthcheck", "--env=SLIMVEC_DEVICE=cpu")
    with pytest.raises(AssertionError, match="exited 2") as refused:
        engine.run("podman", "run", *options, image, limit_s=120)
    assert "so API keys are required: make one with slimvec keys add" in str(refused.value)


def test_the_health_check_is_in_the_image_and_needs_no_shell(inspected: dict[str, Any]) -> None:
    assert inspected["Healthcheck"]["Test"][:4] == ["CMD", "/venv/bin/python", "-I", "-c"]


def test_the_environment_of_the_image_is_what_the_dockerfile_says(
    inspected: dict[str, Any],
) -> None:
    names = {entry.partition("=")[0] for entry in inspected["Config"]["Env"]}
    base_names = {"LANG", "GPG_KEY", "PYTHON_VERSION", "PYTHON_SHA256"}
    assert names - base_names == {
        "PATH",
        "SLIMVEC_HOST",
        "SLIMVEC_PORT",
        "SLIMVEC_MODELS_DIR",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }


def test_the_pip_configuration_of_the_build_leaves_no_trace(image: str) -> None:
    history = engine.run("podman", "history", "--no-trunc", "--format={{.CreatedBy}}", image)
    words = {word for value in engine.pip_settings().values() for word in value.split()}
    assert [
        word for word in words if word.startswith(("/", "http", "file")) and word in history
    ] == []
    assert (
        python(image, "import glob; print(glob.glob('/etc/pip*') + glob.glob('/run/secrets/*'))")
        == "[]"
    )


def test_the_image_holds_the_demo_model_and_no_other(image: str) -> None:
    models = engine.REPOSITORY / "models"
    demo = sorted(str(path) for path in models.glob("minilm-384-to-96/1/*"))
    listed = python(image, "import glob; print(*sorted(glob.glob('/models/*/*/*')))").split()
    assert listed == [path.removeprefix(str(engine.REPOSITORY)) for path in demo]
    assert python(image, "import os; print(os.listdir('/models'))") == "['minilm-384-to-96']"


def test_the_code_belongs_to_root_and_is_compiled(image: str) -> None:
    code = (
        "import app, os; folder = os.path.dirname(app.__file__);"
        "print(os.stat(folder).st_uid, os.access(folder, os.W_OK), os.path.exists(app.__cached__))"
    )
    assert python(image, code) == "0 False True"


def test_one_build_argument_makes_the_image_a_cpu_image(image: str) -> None:
    assert python(image, "import torch; print(torch.version.cuda)") == "None"


def test_pip_and_the_tests_are_not_in_the_image(image: str) -> None:
    code = "import importlib.util as u; print(*map(u.find_spec, ('pip', 'pytest', 'tests')))"
    assert python(image, code) == "None None None"


def test_the_image_is_not_larger_than_its_packages_explain(
    inspected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nimage size: {inspected['Size'] / 1e6:.0f} MB")  # noqa: T201 - asked for
    assert inspected["Size"] < SIZE_LIMIT
