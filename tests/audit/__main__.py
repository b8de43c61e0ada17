"""`python -m tests.audit BIN`: bandit, pip-audit and the bill of materials, by the tools in BIN.

pip-audit asks a service in the network. Where that does not answer, nothing is known, and the exit
code says so, unless AUDIT_OFFLINE is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.audit.findings import EXCUSED, num_high, unexcused, unknown, vulnerable

_ROOT = Path(__file__).parents[2]
_SBOM = _ROOT / "build" / "sbom.cdx.json"


def main(tools: Path) -> int:
    """Run all three; 0 when there is nothing to do."""
    results = [_bandit(tools), _pip_audit(tools), _sbom(tools)]
    return int(not all(results))


def _bandit(tools: Path) -> bool:
    report = json.loads(_run(tools / "bandit", "-q", "-r", "app", "-f", "json").stdout)
    faults = list(unexcused(report))
    _say(f"bandit: {num_high(report)} of high severity, {len(faults)} without a reason", *faults)
    _say(*(f"  excused: {rule} in {file}: {why}" for (rule, file), why in EXCUSED.items()))
    return not faults and not num_high(report)


def _pip_audit(tools: Path) -> bool:
    flags = ("-r", "constraints.txt", "--no-deps", "--disable-pip", "-f", "json")
    ended = _run(tools / "pip-audit", *flags, "--progress-spinner", "off")
    report: dict[str, Any] = json.loads(ended.stdout) if ended.stdout.strip() else {}
    if not report or (silent := unknown(report)) == [p["name"] for p in report["dependencies"]]:
        _say("pip-audit: NOT AUDITED: the service of vulnerabilities could not be asked from here")
        return bool(os.environ.get("AUDIT_OFFLINE"))
    faults = vulnerable(report)
    num_known = len(report["dependencies"]) - len(silent)
    _say(f"pip-audit: {num_known} packages audited, {len(faults)} with known faults", *faults)
    _say(*(f"  NOT AUDITED: {name}: the service does not know it" for name in silent))
    return not faults


def _sbom(tools: Path) -> bool:
    _SBOM.parent.mkdir(exist_ok=True)
    flags = ("--pyproject", "pyproject.toml", "--output-reproducible", "-o", str(_SBOM))
    ended = _run(tools / "cyclonedx-py", "environment", *flags, sys.executable)
    if ended.returncode:
        _say("SBOM: not written", ended.stderr)
        return False
    components = json.loads(_SBOM.read_text(encoding="utf-8"))["components"]
    _say(f"SBOM: {len(components)} components in {_SBOM.relative_to(_ROOT)} (CycloneDX)")
    return True


def _run(tool: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool, *flags], cwd=_ROOT, capture_output=True, text=True, check=False)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 the findings are what the command is for


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
