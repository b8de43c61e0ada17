"""What bandit and pip-audit say, and what of it is excused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Rule, and file (or all of them) → why it is as it should be. One that excuses nothing is a fault.
EXCUSED: Mapping[tuple[str, str], str] = {
    ("B101", "*"): "an assert states what a fault of ours would break, never what a client sends",
    ("B403", "app/exchange/torch_archive.py"): "pickletools lists opcodes and runs none",
    ("B608", "app/storage/journal_reader.py"): "the columns are constants of ours",
    ("B608", "app/storage/journal_row.py"): "the columns are constants of ours",
    ("B608", "app/storage/journal_writer.py"): "the columns are constants of ours",
}


def unexcused(report: Mapping[str, Any]) -> Iterator[str]:
    """A line for each finding of bandit that has no excuse, and for each excuse without one."""
    used = set()
    for found in report["results"]:
        rule, file = found["test_id"], found["filename"].removeprefix("./")
        excuse = {(rule, file), (rule, "*")} & EXCUSED.keys()
        used |= excuse
        if not excuse:
            severity, text = found["issue_severity"].lower(), found["issue_text"]
            yield f"{rule} ({severity}) {file}:{found['line_number']}: {text}"
    for rule, file in sorted(EXCUSED.keys() - used):
        yield f"{rule} in {file} is excused, and there is no such finding"


def num_high(report: Mapping[str, Any]) -> int:
    """How many findings of bandit are of high severity, excused or not."""
    return sum(found["issue_severity"] == "HIGH" for found in report["results"])


def vulnerable(report: Mapping[str, Any]) -> list[str]:
    """A line for each package with a known vulnerability."""
    return [
        f"{package['name']} {package['version']}: {', '.join(fault['id'] for fault in faults)}"
        for package in report["dependencies"]
        if (faults := package.get("vulns"))
    ]


def unknown(report: Mapping[str, Any]) -> list[str]:
    """The packages of which the service of vulnerabilities said nothing."""
    return [package["name"] for package in report["dependencies"] if "skip_reason" in package]
