"""The keys of a running server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.access import KeyRing
from app.errors import StartupError
from tests.api_keys import add_key, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def _names(ring: KeyRing, text: str) -> bool:
    caller = ring.find(text.encode())
    return caller is not None and caller.id == text.split("_")[1]


def test_a_key_is_found_and_every_other_text_is_not(path: Path) -> None:
    text, other = add_key(path), add_key(path)
    ring = KeyRing(path)
    _, key_id, secret = text.split("_")
    wrong = [
        "", "sv_", text[:-1], text + "0", text + " ", text + "\n", " " + text, text.upper(),
        f"sv_{key_id}_{other.split('_')[2]}", f"sv_{'0' * 12}_{secret}", f"sv_{key_id}_", secret,
        text.replace("sv_", "SV_"), text.replace(key_id, key_id.upper() + "x"),
    ]  # fmt: skip
    for _ in range(2):  # a key that was found is remembered; what was not, is not
        assert _names(ring, text)
        assert _names(ring, other)
        assert [candidate for candidate in wrong if ring.find(candidate.encode())] == []


def test_what_was_revoked_or_added_counts_at_the_next_request_after_a_signal(path: Path) -> None:
    text = add_key(path)
    ring = KeyRing(path)
    assert _names(ring, text)
    later = add_key(path)
    revoke_key(path, text)
    ring.look_at_once()
    assert (_names(ring, text), _names(ring, later)) == (False, True)


def test_a_changed_file_is_seen_without_being_told(path: Path) -> None:
    text = add_key(path)
    ring = KeyRing(path, look_every_s=0.0)
    assert _names(ring, text)
    revoke_key(path, text)
    assert not _names(ring, text)


def test_revoking_the_last_key_lets_nobody_in(path: Path) -> None:
    text = add_key(path)
    ring = KeyRing(path)
    revoke_key(path, text)
    ring.look_at_once()
    assert ring.find(text.encode()) is None


def test_an_expired_key_is_no_key_also_after_it_was_found(path: Path) -> None:
    old, young = add_key(path, expires_s=time.time() - 1), add_key(path, expires_s=time.time() + 60)
    ring = KeyRing(path)
    assert (_names(ring, old), _names(ring, young)) == (False, True)
    assert ring.find(old.encode()) is None


_DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "gone": lambda path: path.unlink(),
    "writable": lambda path: path.chmod(0o622),
}


@pytest.mark.parametrize("damage", _DAMAGE.values(), ids=_DAMAGE)
def test_a_file_that_becomes_unusable_leaves_the_keys_and_is_told_once(
    path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    text = add_key(path)
    ring = KeyRing(path, look_every_s=0.0)
    damage(path)
    assert all(_names(ring, text) for _ in range(3))
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith("the API keys stay as they were: the keys file")
    assert text.split("_")[2] not in caplog.text


def test_a_repaired_file_counts_again(path: Path) -> None:
    text = add_key(path)
    ring = KeyRing(path)
    whole = path.read_bytes()
    path.write_bytes(b"{")
    ring.look_at_once()
    assert _names(ring, text)
    path.write_bytes(whole)
    revoke_key(path, text)
    ring.look_at_once()
    assert not _names(ring, text)


def test_a_file_without_a_key_is_no_beginning(path: Path) -> None:
    revoke_key(path, add_key(path))
    with pytest.raises(StartupError, match="has no key"):
        KeyRing(path)
