"""The README's lines work as they stand, and what it points to is there."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.process import ServerProcess, plain_environment

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A line that fails leaves no server behind.
CLEAN_UP = "trap 'kill -9 $(jobs -p) 2> /dev/null || true' EXIT\n"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.timeout(300)  # it starts three servers, one after another
def test_the_five_minutes_work_line_by_line(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir, tmp_path / "untrained")
    with ServerProcess(models_dir) as server:
        ended = subprocess.run(
            ["bash", "-euc", CLEAN_UP + five_minutes(server, tmp_path)],
            cwd=ROOT,
            env=plain_environment() | {"SLIMVEC_MODELS_DIR": str(models_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, passes = ended.stdout.partition("pass 1")[::2]
    assert first.startswith('{"reduced":[[')
    assert '"model":"minilm-384-to-96","version":1' in first
    assert '"object":"embedding"' in first
    assert '"model_name":"minilm-384-to-96","model_version":"1"' in first
    losses = [float(loss) for loss in re.findall(r"loss ([0-9.]+), version", passes)]
    assert losses[4] < losses[0]
    assert re.findall(r"idempotency-replayed: \w+", passes) == ["idempotency-replayed: true"]
    # From version 1: 5 passes over 9 batches, one step twice under its key, 9 batches in a stream.
    assert '"kind":"rollback","version":57' in passes
    states = re.findall(r'"version":10,.*?"state_digest":"\w{64}"', passes)
    assert len(states) == 2  # 9 batches in a stream, before the crash and after it
    assert states[0] == states[1]


def five_minutes(server: ServerProcess, folder: Path) -> str:
    """The README's shell block, on other ports and in another place."""
    lines: str
    [lines] = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return (
        lines.replace("http://127.0.0.1:8000", str(server.client.base_url).rstrip("/"))
        .replace("8001", str(port))
        .replace("/tmp/", f"{folder}/")
        .replace("cp -r models ", f"cp -r {folder}/untrained ")  # ours may have been trained
        .replace(".venv/bin/python", sys.executable)
        .replace(".venv/bin/slimvec", f"{sys.executable} -m app")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_promise_names_a_proof_that_exists() -> None:
    table = README.partition("## Promises")[2].partition("\n## ")[0]
    proofs = re.findall(r"`(tests/[^`]+)`", table)
    assert len(proofs) >= 8
    assert [proof for proof in proofs if not (ROOT / proof).exists()] == []
