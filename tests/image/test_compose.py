"""docker-compose.yml, profile cpu, up on this machine and driven over HTTP."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from tests.image import engine
from tests.image.deployment import CONTAINER, Deployment

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]

MODEL = "minilm-384-to-96"
HIDDEN_STATES = np.random.default_rng(0).standard_normal((64, 384)).round(4).tolist()


def test_a_new_volume_starts_with_the_demo_model(deployment: Deployment) -> None:
    owner = "import os; print(os.stat('/models').st_uid, os.listdir('/models'))"
    assert deployment.client.get(f"/models/{MODEL}").json()["model"] == MODEL
    assert deployment.python(owner) == f"10001 ['{MODEL}']"


def test_without_a_key_only_the_probes_answer(deployment: Deployment) -> None:
    with httpx.Client(base_url=deployment.client.base_url) as stranger:
        body = {"hidden_states": HIDDEN_STATES[:1]}
        assert stranger.get("/health/ready").status_code == 200
        assert stranger.get("/models").status_code == 401
        assert stranger.post("/reduce", json=body).status_code == 401
        assert stranger.get("/health/live", headers={"host": "evil.example"}).status_code == 421
    assert deployment.client.post("/reduce", json=body).status_code == 200


def test_a_key_counts_while_it_is_in_the_folder_without_a_restart(
    image: str, deployment: Deployment
) -> None:
    key = engine.add_key(image, deployment.secrets)
    proof = {"authorization": f"Bearer {key}"}
    deployment.await_status(200, "/models", proof)
    revoke = ("revoke", key.split("_")[1])
    engine.run(*engine.keys_command(image, deployment.secrets, *revoke))
    deployment.await_status(401, "/models", proof)


def test_reduce_answers_from_the_container(deployment: Deployment) -> None:
    answer = deployment.post("/reduce", hidden_states=HIDDEN_STATES)
    assert (answer["model"], answer["shape"]) == (MODEL, [64, 96])
    assert np.isfinite(answer["reduced"]).all()


def test_a_train_step_raises_the_version(deployment: Deployment) -> None:
    before = deployment.post("/reduce", hidden_states=HIDDEN_STATES[:1])
    stepped = deployment.post("/train-step", hidden_states=HIDDEN_STATES)
    after = deployment.post("/reduce", hidden_states=HIDDEN_STATES[:1])
    assert stepped["version"] == after["version"] == before["version"] + 1
    assert stepped["digest"] == after["digest"] != before["digest"]


def test_the_health_check_of_the_image_passes(deployment: Deployment) -> None:
    assert engine.succeeds("podman", "healthcheck", "run", CONTAINER)


@pytest.mark.parametrize(
    ("path", "writable"), [("/", False), ("/venv", False), ("/tmp", True), ("/models", True)]
)
def test_only_the_volume_and_tmp_can_be_written(
    deployment: Deployment, path: str, writable: bool
) -> None:
    code = f"""
import tempfile
try:
    tempfile.TemporaryFile(dir={path!r}).close()
    print(True)
except OSError:
    print(False)
"""
    assert deployment.python(code) == str(writable)


def test_the_process_has_no_capability_and_can_gain_none(deployment: Deployment) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in deployment.python("print(open('/proc/1/status').read())").splitlines()
    )
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert status["Uid"].split() == ["10001"] * 4


def test_memory_and_processes_are_limited(deployment: Deployment) -> None:
    limits = deployment.inspect()["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"]) == (4 << 30, 512)


def test_stop_exits_with_0_and_a_new_container_keeps_what_was_learned(
    deployment: Deployment,
) -> None:
    deployment.post("/train-step", hidden_states=HIDDEN_STATES)
    learned = deployment.post("/reduce", hidden_states=HIDDEN_STATES[:2])
    deployment.stop()
    # After the grace period it would have been killed: 137.
    assert deployment.inspect()["State"]["ExitCode"] == 0, deployment.logs()
    deployment.down()
    deployment.up()
    assert deployment.post("/reduce", hidden_states=HIDDEN_STATES[:2]) == learned
