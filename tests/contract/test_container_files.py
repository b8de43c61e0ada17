"""Dockerfile, .dockerignore and docker-compose.yml keep the house's rules; no engine needed.

What only a build or a run can show is in tests/image (`make image-test`).
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import ENV_PREFIX, Settings

REPOSITORY = Path(__file__).parents[2]
SERVICES = {"gpu": "slimvec-gpu", "cpu": "slimvec-cpu"}
SECRET = re.compile(r"(password|passwd|token|secret|api_?key|credential)\w*\s*[=:]", re.I)
PORT = Settings.model_fields["port"].default
DRAIN_S = Settings.model_fields["drain_timeout_s"].default


def read_instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments of each Dockerfile line, continuations joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    words = (line.split(maxsplit=1) for line in joined.splitlines())
    return [(word.upper(), arguments) for word, arguments in words]


INSTRUCTIONS = read_instructions((REPOSITORY / "Dockerfile").read_text())
LAST_STAGE = INSTRUCTIONS[max(i for i, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())


def arguments_of(word: str, instructions: list[tuple[str, str]] = INSTRUCTIONS) -> list[str]:
    return [arguments for name, arguments in instructions if name == word]


def image_environment() -> dict[str, str]:
    pairs = (re.findall(r"(\w+)=(\S+)", line) for line in arguments_of("ENV", LAST_STAGE))
    return dict(pair for line in pairs for pair in line)


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][SERVICES[request.param]]
    return found


def test_the_base_is_pinned_by_an_argument_with_a_tag() -> None:
    assert arguments_of("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    (base,) = [line for line in arguments_of("ARG") if line.startswith("PYTHON_IMAGE=")]
    assert re.fullmatch(r"PYTHON_IMAGE=\S+/python:3\.11-slim-\w+", base)


def test_every_package_is_pinned_and_torch_alone_may_come_from_its_index() -> None:
    installs = [line for line in arguments_of("RUN") if "pip install" in line]
    assert all("-c constraints.txt" in line or "--no-deps ." in line for line in installs)
    assert ["TORCH_INDEX" in line for line in installs] == [True, False, False]
    assert "--no-deps" in installs[0]
    assert arguments_of("ARG")[-1] == "TORCH_INDEX="


def test_dependencies_are_a_layer_before_the_source() -> None:
    words = [f"{word} {arguments}" for word, arguments in INSTRUCTIONS]
    steps = ["COPY pyproject.toml constraints.txt", "RUN --mount", "COPY app app"]
    places = [next(i for i, line in enumerate(words) if line.startswith(step)) for step in steps]
    assert places == sorted(places)


def test_the_last_stage_copies_the_environment_whole_and_installs_nothing() -> None:
    assert "--from=build /venv /venv" in arguments_of("COPY", LAST_STAGE)
    assert not [line for line in arguments_of("RUN", LAST_STAGE) if re.search("pip|apt|curl", line)]


def test_the_user_is_a_number_other_than_root_and_owns_the_models() -> None:
    (user,) = arguments_of("USER")
    uid, gid = user.split(":")
    assert int(uid) > 0 < int(gid)
    assert f"--chown={user} models /models" in arguments_of("COPY", LAST_STAGE)
    assert json.loads(arguments_of("VOLUME")[0]) == [image_environment()["SLIMVEC_MODELS_DIR"]]


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_no_shell_stands_between_the_engine_and_the_server(word: str) -> None:
    (arguments,) = arguments_of(word)
    assert not {"sh", "/bin/sh", "bash", "/bin/bash"} & set(json.loads(arguments))
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]


def test_the_health_check_asks_for_liveness_without_a_shell() -> None:
    (check,) = arguments_of("HEALTHCHECK")
    program, *_, code = json.loads(check.partition("CMD ")[2])
    assert program == "/venv/bin/python"
    assert "'/health/live'" in code
    compile(code, "health check", "exec")


def test_the_port_is_the_one_of_the_settings_everywhere(service: dict[str, Any]) -> None:
    assert arguments_of("EXPOSE") == [str(PORT)] == [image_environment()["SLIMVEC_PORT"]]
    assert service["ports"] == [f"127.0.0.1:${{SLIMVEC_PORT:-{PORT}}}:{PORT}"]


@pytest.mark.parametrize("name", ["Dockerfile", "docker-compose.yml"])
def test_every_slimvec_variable_is_a_setting(name: str) -> None:
    used = set(re.findall(rf"{ENV_PREFIX}\w+", (REPOSITORY / name).read_text()))
    assert used <= {ENV_PREFIX + field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize("name", ["Dockerfile", "docker-compose.yml"])
def test_no_secret_is_written_into_the_file(name: str) -> None:
    lines = (REPOSITORY / name).read_text().splitlines()
    lines = [re.sub(r"type=secret|^ *secrets:", "", line) for line in lines]
    assert [line for line in lines if SECRET.search(line)] == []


def test_nobody_is_let_in_without_a_key_unless_the_operator_types_it() -> None:
    text = "".join((REPOSITORY / name).read_text() for name in ("Dockerfile", "docker-compose.yml"))
    assert "insecure" not in text.lower()
    assert image_environment()["SLIMVEC_HOST"] == "0.0.0.0"


def test_a_service_reads_its_keys_from_a_secret_that_is_a_folder(service: dict[str, Any]) -> None:
    (name,) = service["secrets"]
    folder, _, file = service["environment"]["SLIMVEC_KEYS_FILE"].rpartition("/")
    assert (folder, file) == (f"/run/secrets/{name}", "keys.json")
    assert COMPOSE["secrets"] == {name: {"file": "${KEYS_DIR:-./secrets}"}}
    assert "/secrets/" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_a_service_answers_to_its_name_among_containers(service: dict[str, Any]) -> None:
    hosts = service["environment"]["SLIMVEC_ALLOWED_HOSTS"]
    assert hosts == f"${{SLIMVEC_ALLOWED_HOSTS:-{','.join(sorted(SERVICES.values()))}}}"


@pytest.mark.parametrize(
    ("word", "pattern"),
    [("RUN", "<<"), ("COPY", "--link"), ("HEALTHCHECK", "--start-interval"), ("ADD", "")],
)
def test_older_engines_can_build_it(word: str, pattern: str) -> None:
    assert [line for line in arguments_of(word) if pattern in line] == []


def test_the_label_carries_the_version_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    label = f'org.opencontainers.image.version="{project["version"]}"'
    assert label in arguments_of("LABEL")[0]


def test_the_build_is_sent_what_it_copies_and_nothing_else() -> None:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    copied = {w for line in arguments_of("COPY") if "--from" not in line for w in line.split()[:-1]}
    top_level = {rule[1:] for rule in rules if rule.startswith("!") and "/" not in rule}
    assert rules[0] == "*"
    assert top_level == {word for word in copied if not word.startswith("--")}
    assert rules[-1] == "**/__pycache__"


def test_of_the_models_only_the_first_version_of_the_demo_is_sent() -> None:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    demo = f"models/{Settings.model_fields['default_model'].default}"
    assert [rule for rule in rules if rule.startswith(("models/", "!models/"))] == [
        *("models/*", f"!{demo}", f"{demo}/*", f"!{demo}/1")
    ]


def test_each_service_is_started_by_its_own_profile_alone() -> None:
    profiles = {name: service["profiles"] for name, service in COMPOSE["services"].items()}
    assert profiles == {name: [profile] for profile, name in SERVICES.items()}


def test_a_service_can_write_only_to_its_volume_and_tmp(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["volumes"] == ["models:/models"]
    assert "models" in COMPOSE["volumes"]
    (tmp,) = service["tmpfs"]
    assert set(tmp.removeprefix("/tmp:").split(",")) > {"size=64m", "noexec", "nosuid", "nodev"}


def test_a_service_has_no_rights_and_bounded_resources(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"[1-9]\d*g", service["mem_limit"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)


def test_a_service_is_given_longer_to_stop_than_the_drain_takes(service: dict[str, Any]) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S
    assert "SLIMVEC_DRAIN_TIMEOUT_S" not in service["environment"]
    assert service["restart"] == "unless-stopped"


def test_profiles_differ_in_device_image_and_the_one_build_argument() -> None:
    gpu, cpu = (COMPOSE["services"][SERVICES[profile]] for profile in ("gpu", "cpu"))
    assert [s["environment"]["SLIMVEC_DEVICE"] for s in (gpu, cpu)] == ["cuda", "cpu"]
    assert [s["image"] for s in (gpu, cpu)] == ["slimvec:cuda", "slimvec:cpu"]
    assert gpu["build"]["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}
    assert list(cpu["build"]["args"]) == ["TORCH_INDEX"]


def test_only_the_gpu_service_reserves_a_gpu() -> None:
    reserved = COMPOSE["services"]["slimvec-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert "deploy" not in COMPOSE["services"]["slimvec-cpu"]
    assert {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"} <= set(image_environment())


def test_make_and_compose_take_the_cpu_wheels_from_the_same_index() -> None:
    default = re.compile(r"\$\{TORCH_INDEX:-(https[^}]+)\}")
    files = ("docker-compose.yml", "tests/image/build.sh")
    assert len({tuple(default.findall((REPOSITORY / file).read_text())) for file in files}) == 1
