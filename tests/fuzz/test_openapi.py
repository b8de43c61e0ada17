"""A short run of schemathesis; `make fuzz` has the long one."""

from __future__ import annotations

from tests.fuzz.openapi import run, served


def test_the_server_does_what_its_document_says_in_every_phase_and_check() -> None:
    with served() as target:
        report = run(target, "--max-examples", "3", "--max-time", "15", "--seed", "4")
    assert report.is_passed, report.text
    assert all(f"{phase} (in" in report.text for phase in ("Examples", "Coverage", "Stateful"))
    assert report.num_cases > 100
