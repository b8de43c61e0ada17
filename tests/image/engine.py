"""Building and running containers on this machine, as the image tests do it."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
IMAGE = "localhost/slimvec-test:cpu"
STAND_IN_BASE = "localhost/slimvec-test-base:bookworm"
TOOLS = ("buildah", "podman", "runc")
BUILD_LIMIT_S = 900


def missing() -> str:
    """Says why no image can be built here; empty when one can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "buildah and podman are run as root here; this user is not"


def run(*command: str, limit_s: float = 60, **variables: str) -> str:
    """Runs a command in the repository and returns its stdout; fails with its output."""
    environment = {"CONTAINERS_CONF": str(HERE / "containers.conf"), **os.environ, **variables}
    finished = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=limit_s
    )
    if finished.returncode != 0:
        raise AssertionError(
            f"{' '.join(command[:4])} … exited {finished.returncode}\n"
            f"{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}"
        )
    return finished.stdout


def succeeds(*command: str) -> bool:
    """Tells whether a command exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def build(scratch: Path) -> None:
    """Builds the CPU image as `make image` does, with this machine's pip configuration."""
    settings = pip_settings()
    variables = {"ENGINE": "buildah", "TAG": IMAGE}
    index = torch_index(settings, scratch)
    if index is not None:
        variables["TORCH_INDEX"] = index
    pip_conf = scratch / "pip.conf"
    with pip_conf.open("w") as file:
        _as_config(settings).write(file)
    mounts = [f"--volume={path}:{path}:ro" for path in (*local_paths(settings), scratch)]
    run(
        *("sh", str(HERE / "build.sh"), "cpu", "--isolation=chroot", "--pull=never"),
        *(f"--build-arg=PYTHON_IMAGE={base_image()}", f"--secret=id=pip,src={pip_conf}", *mounts),
        limit_s=BUILD_LIMIT_S,
        **variables,
    )


def base_image() -> str:
    """The base that the Dockerfile names, or a stand-in where no registry can be reached."""
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.M)
    assert found is not None
    if succeeds("podman", "image", "exists", found[1]) or succeeds("buildah", "pull", found[1]):
        return found[1]
    if not succeeds("podman", "image", "exists", STAND_IN_BASE):
        run("sh", str(HERE / "base.sh"), STAND_IN_BASE, limit_s=BUILD_LIMIT_S)
    return STAND_IN_BASE


def pip_settings() -> dict[str, str]:
    """What pip uses on this machine: its files, then over them its PIP_* variables."""
    lines = run(sys.executable, "-m", "pip", "config", "list").splitlines()
    pairs = (line.partition("=") for line in sorted(lines, key=lambda it: it.startswith(":env:")))
    return {name.rpartition(".")[2]: ast.literal_eval(value) for name, _, value in pairs}


def local_paths(settings: dict[str, str]) -> set[Path]:
    """Directories that the settings point into: wheels, file indexes, certificates.

    The parent of each, because an index page links to files that lie beside it.
    """
    words = (word for value in settings.values() for word in value.split())
    paths = (Path(unquote(urlsplit(word).path)) for word in words if _is_local(word))
    return {path if path.parent == Path("/") else path.parent for path in paths if path.exists()}


def torch_index(settings: dict[str, str], scratch: Path) -> str | None:
    """A package index with the CPU wheel of torch that this machine holds, if it holds one.

    Then the build argument is what makes the CPU image, with or without a network.
    """
    if "TORCH_INDEX" in os.environ:
        return os.environ["TORCH_INDEX"]
    folders = (Path(unquote(urlsplit(w).path)) for w in settings.get("find-links", "").split())
    wheels = [wheel for folder in folders for wheel in folder.glob("torch-*+cpu-*.whl")]
    if not wheels:
        return None
    page = scratch / "index" / "torch" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("\n".join(f'<a href="{w.as_uri()}">{w.name}</a>' for w in wheels))
    return page.parents[1].as_uri()


def keys_command(image: str, secrets: Path, *arguments: str) -> tuple[str, ...]:
    """`slimvec keys`, in a container that has the folder and no network."""
    mount = f"--volume={secrets}:/keys"
    options = ("--rm", "--network=none", "--no-healthcheck", f"--user={os.geteuid()}", mount)
    return ("podman", "run", *options, image, "keys", *arguments, "--keys-file=/keys/keys.json")


def add_key(image: str, secrets: Path) -> str:
    """A key to everything, made as docs/container.md has it."""
    secrets.mkdir(exist_ok=True)
    key = run(*keys_command(image, secrets, "add", "--scope=admin")).strip()
    secrets.chmod(0o755)
    (secrets / "keys.json").chmod(0o644)
    return key


def compose_command(scratch: Path) -> list[str]:
    """podman-compose, from PATH or put into an environment of its own."""
    program = shutil.which("podman-compose")
    if program is None:
        run(sys.executable, "-m", "venv", str(scratch / "compose"))
        run(str(scratch / "compose/bin/pip"), "install", "--quiet", "podman-compose", limit_s=300)
        program = str(scratch / "compose/bin/podman-compose")
    files = ("-f", "docker-compose.yml", "-f", str(HERE / "compose.test.yaml"))
    return [program, "-p", "slimvec-image-test", *files, "--profile", "cpu"]


def _as_config(settings: dict[str, str]) -> configparser.RawConfigParser:
    config = configparser.RawConfigParser()
    config["global"] = settings
    return config


def _is_local(word: str) -> bool:
    return urlsplit(word).scheme == "file" or word.startswith("/")
