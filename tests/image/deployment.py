"""The compose file, up and driven."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, Self

import httpx

from tests.image import engine

CONTAINER = "slimvec-image-test_slimvec-cpu_1"
READY_LIMIT_S = 90
KEYS_LIMIT_S = 20


class Deployment:
    """One run of docker-compose.yml with the test's changes, on a free port.

    Args:
        command: compose, with its files.
        secrets: the folder with the keys file.
        key: what the client sends.
    """

    def __init__(self, command: list[str], secrets: Path, key: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = command
        self.secrets = secrets
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=30,
            headers={"authorization": f"Bearer {key}"},
        )

    def __enter__(self) -> Self:
        """Clears away what an interrupted run left."""
        self.down("--volumes")
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()
        self.down("--volumes")

    def up(self) -> None:
        """Starts the service and returns when it is ready."""
        self._compose("up", "-d", "--no-build")
        deadline = time.monotonic() + READY_LIMIT_S
        while not self._is_ready():
            assert time.monotonic() < deadline, f"not ready:\n{self.logs()}"
            # Nothing of the engine can be waited on: its health timer needs systemd.
            time.sleep(0.2)

    def stop(self) -> None:
        """Sends SIGTERM and, after the grace period of the compose file, SIGKILL."""
        self._compose("stop")

    def down(self, *options: str) -> None:
        """Stops and removes the container; the volume only with `--volumes`."""
        self._compose("down", *options)

    def logs(self) -> str:
        return engine.run("podman", "logs", "--tail", "30", CONTAINER)

    def inspect(self) -> dict[str, Any]:
        container: dict[str, Any] = json.loads(engine.run("podman", "inspect", CONTAINER))[0]
        return container

    def python(self, code: str) -> str:
        """Runs Python code in the running container, as its user."""
        return engine.run("podman", "exec", CONTAINER, "/venv/bin/python", "-c", code).strip()

    def post(self, path: str, **body: object) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        fields: dict[str, Any] = answer.json()
        return fields

    def await_status(self, status: int, path: str, headers: dict[str, str]) -> None:
        """Asks until the answer has this status: keys are looked at once a second."""
        deadline = time.monotonic() + KEYS_LIMIT_S
        while (found := self.client.get(path, headers=headers).status_code) != status:
            assert time.monotonic() < deadline, f"expected {status}, got {found}"
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _compose(self, *arguments: str) -> None:
        variables = {"SLIMVEC_PORT": str(self.port), "KEYS_DIR": str(self.secrets)}
        engine.run(*self._command, *arguments, limit_s=180, **variables)
