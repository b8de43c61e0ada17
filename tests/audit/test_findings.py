"""The audit's judgement on reports whose truth is known."""

from __future__ import annotations

from typing import Any

from tests.audit.findings import EXCUSED, num_high, unexcused, unknown, vulnerable


def _found(rule: str, file: str, severity: str = "LOW") -> dict[str, Any]:
    return {
        "test_id": rule,
        "filename": file,
        "line_number": 1,
        "issue_severity": severity,
        "issue_text": "text",
    }


_ALL_EXCUSED = [_found(rule, file.replace("*", "app/a.py")) for rule, file in EXCUSED]


def test_what_is_excused_is_no_fault() -> None:
    assert not list(unexcused({"results": _ALL_EXCUSED}))


def test_a_finding_without_a_reason_is_a_fault() -> None:
    report = {"results": [*_ALL_EXCUSED, _found("B602", "app/a.py", "HIGH")]}
    assert list(unexcused(report)) == ["B602 (high) app/a.py:1: text"]
    assert num_high(report) == 1


def test_an_excuse_for_nothing_is_a_fault() -> None:
    assert len(list(unexcused({"results": _ALL_EXCUSED[1:]}))) == 1


def test_a_package_that_the_service_does_not_know_is_not_audited() -> None:
    known = {"name": "a", "version": "1", "vulns": []}
    bad = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
    silent = {"name": "c", "skip_reason": "Dependency not found"}
    report = {"dependencies": [known, bad, silent]}
    assert (vulnerable(report), unknown(report)) == (["b 2: CVE-1, CVE-2"], ["c"])
