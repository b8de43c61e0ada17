"""API keys as the process of a server has them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.api_keys import add_key, revoke_key
from tests.e2e.process import ServerProcess, run_to_end


def test_others_can_reach_no_server_that_asks_for_no_keys(models_dir: Path) -> None:
    ended = run_to_end("serve", "--host", "0.0.0.0", "--port", "0", "--models-dir", str(models_dir))
    assert (ended.returncode, "API keys are required" in ended.stderr) == (2, True)


def test_a_hangup_lets_the_next_request_see_the_file_as_it_is(
    models_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path)
    proof = {"authorization": f"Bearer {key}"}
    with ServerProcess(models_dir, "--device", "cpu", "--keys-file", str(path)) as server:
        before = server.client.get("/models", headers=proof)
        revoke_key(path, key)
        os.kill(server.process.pid, signal.SIGHUP)
        # The signal may arrive just after the first of them began.
        answers = [server.client.get("/models", headers=proof) for _ in range(2)]
        assert (server.process.poll(), server.stop()) == (None, 0)
    assert (before.status_code, answers[-1].status_code) == (200, 401)
    assert key.split("_")[2] not in "".join(server.log)
