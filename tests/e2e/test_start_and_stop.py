"""How the server begins and ends: banner, exit codes, own files, drain."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from app.types import FloatArray
from tests.e2e.conftest import DEMO
from tests.e2e.process import ServerProcess, run_to_end, start
from tests.e2e.requests import reduce, state, train


def test_the_banner_names_url_device_model_sizes_and_version(models_dir: Path) -> None:
    with ServerProcess(models_dir, "--device", "cpu") as server:
        described = server.client.get(f"/models/{DEMO}").json()
    for part in (
        str(server.client.base_url).rstrip("/"),
        "cpu (asked for)",
        DEMO,
        "384 → 96",
        "version 1",
    ):
        assert part in server.banner
    assert (described["device"], described["device_reason"]) == ("cpu", "asked for")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_asked_for_and_absent_exits_with_2_and_a_sentence(models_dir: Path) -> None:
    ended = run_to_end("serve", "--device", "cuda", "--models-dir", str(models_dir))
    assert ended.returncode == 2
    assert "device 'cuda' was asked for, but torch" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bad_setting_exits_with_2_and_names_flag_and_variable() -> None:
    ended = run_to_end("serve", "--port", "seventy")
    assert ended.returncode == 2
    assert "--port (or SLIMVEC_PORT)" in ended.stderr


def test_a_port_in_use_exits_with_2_and_a_sentence(models_dir: Path, tmp_path: Path) -> None:
    with ServerProcess(models_dir) as server:
        port = str(server.client.base_url.port)
        ended = run_to_end("serve", "--port", port, "--models-dir", str(tmp_path / "others"))
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in ended.stderr


def test_a_last_checkpoint_that_cannot_be_written_exits_with_1(
    models_dir: Path, stream: FloatArray
) -> None:
    with ServerProcess(models_dir) as server:
        train(server.client, hidden_states=stream)
        shutil.rmtree(models_dir / DEMO)
        (models_dir / DEMO).touch()  # nothing can be written below a file
        assert server.stop() == 1
    assert "the last checkpoint could not be written" in server.log[-1]


def test_a_second_server_on_the_same_models_exits_with_3(models_dir: Path) -> None:
    with ServerProcess(models_dir):
        ended = run_to_end("serve", "--port", "0", "--models-dir", str(models_dir))
    assert ended.returncode == 3
    assert "slimvec: " in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_was_accepted_and_exits_with_0(
    models_dir: Path, stream: FloatArray, number: signal.Signals
) -> None:
    with ServerProcess(models_dir) as server, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(train, server.client, hidden_states=stream) for _ in range(40)]
        next(iter(waiting)).result()
        assert server.stop(number) == 0
    answered = [step.result()["version"] for step in waiting if step.exception() is None]
    versions = [int(folder.name) for folder in (models_dir / DEMO).iterdir() if folder.is_dir()]
    assert max(versions) >= max(answered)


def test_a_signal_before_the_server_listens_is_an_orderly_end(models_dir: Path) -> None:
    # As process 1 of a container the default action would be to ignore it.
    with start("serve", "--port", "0", "--models-dir", str(models_dir)) as process:
        while not handles(process.pid, signal.SIGTERM):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal (from Linux' own account of it)."""
    fields = dict(
        line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return bool(int(fields["SigCgt"], 16) & 1 << (number - 1))


def test_json_logs_are_json_from_the_first_line_to_the_last(models_dir: Path) -> None:
    with ServerProcess(models_dir, "--log-format", "json") as server:
        assert server.client.get("/nope").status_code == 404
        assert server.stop() == 0  # then its log is whole
    for line in server.log:
        assert "message" in json.loads(line)
    refused = next(json.loads(line) for line in server.log if '"/nope"' in line)
    assert (refused["status"], len(refused["request_id"])) == (404, 16)


def test_state_dict_serves_a_users_own_layer_and_resumes_it(
    models_dir: Path, tmp_path: Path, held_out: FloatArray
) -> None:
    layer = torch.nn.Linear(384, 12)
    torch.save(layer.state_dict(), tmp_path / "mine.pt")
    flags = ("--state-dict", str(tmp_path / "mine.pt"))
    with ServerProcess(models_dir, *flags) as server:
        assert "mine  384 → 12  version 1" in server.banner
        reduced, _ = reduce(server.client, held_out)
        train(server.client, hidden_states=held_out)
        learned = state(server.client, "mine")
        assert server.stop() == 0
    expected = layer(torch.tensor(held_out)).detach().numpy()
    np.testing.assert_allclose(reduced, expected, atol=1e-6)  # sums in another order
    with ServerProcess(models_dir, *flags) as server:
        # The orderly end has written what was only in the journal.
        assert state(server.client, "mine") == learned | {"checkpoint": 2}


def test_import_says_which_key_was_taken(models_dir: Path, tmp_path: Path) -> None:
    torch.save({"encoder.linear.weight": torch.eye(4, 8)}, tmp_path / "layer.pt")
    command = ("import", str(tmp_path / "layer.pt"), "--name", "mine", "--models-dir")
    ended = run_to_end(*command, str(models_dir))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "model mine: 8 → 4 from key 'encoder.linear.weight'" in ended.stdout
    again = run_to_end(*command, str(models_dir))
    assert again.returncode == 0  # the same weights: nothing to do


def test_a_file_that_is_no_layer_is_refused_with_what_was_found(
    models_dir: Path, tmp_path: Path
) -> None:
    torch.save({"a": torch.eye(2), "b": torch.eye(3)}, tmp_path / "layer.pt")
    command = ("import", str(tmp_path / "layer.pt"), "--name", "mine", "--models-dir")
    ended = run_to_end(*command, str(models_dir))
    assert ended.returncode == 1
    assert "layer.pt: expected exactly one matrix" in ended.stderr
    assert not (models_dir / "mine").exists()
