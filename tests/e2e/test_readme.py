"""The README's lines work as they stand, and what it points to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.process import ServerProcess, plain_environment

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_five_minutes_work_line_by_line(models_dir: Path, tmp_path: Path) -> None:
    [lines] = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    with ServerProcess(models_dir) as server:
        script = (
            lines.replace("http://127.0.0.1:8000", str(server.client.base_url).rstrip("/"))
            .replace("/tmp/one.json", str(tmp_path / "one.json"))
            .replace(".venv/bin/python", sys.executable)
        )
        ended = subprocess.run(
            ["bash", "-euc", script],
            cwd=ROOT,
            env=plain_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    first, passes = ended.stdout.partition("pass 1")[::2]
    assert first.startswith('{"reduced":[[')
    assert '"model":"minilm-384-to-96","version":1' in first
    losses = [float(loss) for loss in re.findall(r"loss ([0-9.]+)", passes)]
    assert losses[-1] < losses[0]
    assert '"version":46' in passes  # 5 passes over 9 batches, counted from version 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_promise_names_a_proof_that_exists() -> None:
    table = README.partition("## Promises")[2].partition("\n## ")[0]
    proofs = re.findall(r"`(tests/[^`]+)`", table)
    assert len(proofs) >= 8
    assert [proof for proof in proofs if not (ROOT / proof).exists()] == []
