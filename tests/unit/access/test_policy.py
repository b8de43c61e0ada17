"""Who may start without keys."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.access import keys_of
from app.errors import StartupError
from app.settings import Settings
from tests.api_keys import add_key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_needs_no_keys(host: str, caplog: pytest.LogCaptureFixture) -> None:
    assert keys_of(Settings(host=host)) is None
    assert caplog.records == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.7", "192.168.1.1", "example.org"])
def test_any_other_address_needs_keys_or_the_operators_word(
    host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StartupError, match="API keys are required") as refused:
        keys_of(Settings(host=host))
    assert (refused.value.code, refused.value.exit_code) == ("keys_required", 2)
    assert keys_of(Settings(host=host, insecure_no_auth=True)) is None
    assert [(record.levelno, "INSECURE" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]
    add_key(tmp_path / "keys.json")
    assert keys_of(Settings(host=host, keys_file=tmp_path / "keys.json")) is not None


def test_a_file_of_keys_counts_on_the_loopback_too(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no such file"):
        keys_of(Settings(keys_file=tmp_path / "keys.json"))


def test_keys_and_no_keys_at_once_are_refused(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json")
    with pytest.raises(StartupError, match="got both"):
        keys_of(Settings(keys_file=tmp_path / "keys.json", insecure_no_auth=True))
