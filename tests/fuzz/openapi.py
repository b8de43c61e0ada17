"""Schemathesis against a server that really runs; only our document says what is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import MODELS
from tests.e2e.process import ServerProcess, plain_environment, run_to_end

_ROOT = Path(__file__).parents[2]
_CONFIG = Path(__file__).with_name("schemathesis.toml")
_FLAGS = ("--default-model", "small", "--device", "cpu", "--log-level", "error")
_NUM_CASES = 5000
_COUNT = re.compile(r"^  (\d+) generated", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended.

    Attributes:
        num_cases: requests that were made up and judged.
        text: everything that was printed.
    """

    is_passed: bool
    num_cases: int
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server that wants API keys, and one of them that may do everything."""

    url: str
    api_key: str


@contextmanager
def served() -> Iterator[Target]:
    """A server in a process of its own."""
    with TemporaryDirectory() as folder:
        keys_file, models_dir = Path(folder) / "keys.jsonl", Path(folder) / "models"
        added = run_to_end("keys", "add", "--scope", "admin", "--keys-file", str(keys_file))
        api_key = added.stdout.strip()
        models_dir.mkdir()
        with ServerProcess(models_dir, *_FLAGS, "--keys-file", str(keys_file)) as server:
            server.client.headers["authorization"] = f"Bearer {api_key}"
            for name, document in MODELS.items():
                server.client.put(f"/models/{name}", json=document).raise_for_status()
            yield Target(str(server.client.base_url).rstrip("/"), api_key)


def run(target: Target, *flags: str) -> Report:
    """Every phase with every check; `flags` of `st run` say how much."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG), "run"]
    authorised = ["--header", f"Authorization: Bearer {target.api_key}"]
    ended = subprocess.run(
        [*command, f"{target.url}/openapi.json", "--checks", "all", *authorised, *flags],
        cwd=_ROOT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    count = _COUNT.search(ended.stdout)
    return Report(ended.returncode == 0, int(count[1]) if count else 0, ended.stdout + ended.stderr)


def main() -> int:
    """Judge at least FUZZ_CASES requests (5,000); the exit code."""
    wanted, judged = int(os.environ.get("FUZZ_CASES") or _NUM_CASES), 0
    with served() as target:
        while judged < wanted:
            report = run(target, "--max-examples", "100")
            judged += report.num_cases
            if not report.is_passed:
                break
    _say(report.text, f"fuzz, OpenAPI: {judged} requests judged by every check of schemathesis")
    return int(not report.is_passed)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 the counts are what the command is for


if __name__ == "__main__":
    sys.exit(main())
