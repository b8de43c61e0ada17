"""The file of API keys: hashes only, strict, atomic."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.access import KeyScope, edit_keys, read_keys
from app.errors import StartupError
from tests.api_keys import add_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_comes_back_with_everything_but_its_secret(path: Path) -> None:
    text = add_key(path, KeyScope.TRAIN, ("news*", "a"), expires_s=1e10)
    _, key_id, secret = text.split("_")
    [key] = read_keys(path).values()
    assert (key.caller.id, key.caller.scope, key.caller.models) == (
        key_id, KeyScope.TRAIN, ("news*", "a"),
    )  # fmt: skip
    assert (key.created_s, key.expires_s, key.comment) == (0.0, 1e10, "of a test")
    assert secret not in path.read_text()
    assert len(secret) * 4 == 256


def test_a_new_file_is_for_its_owner_alone_and_a_changed_one_for_whom_it_was(path: Path) -> None:
    add_key(path)
    made = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o644)
    add_key(path)
    assert (made, stat.S_IMODE(path.stat().st_mode)) == (0o600, 0o644)
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_an_edit_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    add_key(path)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        _clear_and_fail(path)
    assert path.read_bytes() == before


def _clear_and_fail(path: Path) -> None:
    with edit_keys(path) as keys:
        keys.clear()
        del keys["none"]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    path.symlink_to(tmp_path / "vault" / "keys.json")
    add_key(path)
    assert path.is_symlink()
    assert len(read_keys(tmp_path / "vault" / "keys.json")) == 1


def test_two_that_edit_at_once_lose_no_key(path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: add_key(path), range(24)))
    assert len(read_keys(path)) == 24


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_believed(path: Path, mode: int) -> None:
    add_key(path)
    path.chmod(mode)
    with pytest.raises(StartupError, match="can be written by others than its owner"):
        read_keys(path)


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda key: key.pop(name)


_DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "scope": lambda key: key.update(scope="root"),
    "id": lambda key: key.update(id="A" * 12),
    "sha256": lambda key: key.update(sha256="0" * 63),
    "models": lambda key: key.update(models=[]),
    "glob": lambda key: key.update(models=["[a-z]"]),
    "expires": lambda key: key.update(expires="soon"),
    "zone": lambda key: key.update(expires="2026-01-01T00:00:00"),
    "unknown": lambda key: key.update(expiry=None),
    **{f"no-{name}": _without(name) for name in ("sha256", "scope", "models", "expires")},
}


@pytest.mark.parametrize("change", _DAMAGE.values(), ids=_DAMAGE)
def test_a_damaged_key_is_refused_with_its_place_and_not_its_value(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    add_key(path)
    document = orjson.loads(path.read_bytes())
    change(document["keys"][0])
    path.write_bytes(orjson.dumps(document))
    with pytest.raises(StartupError, match=r"damaged: at /keys/0/") as refused:
        read_keys(path)
    assert refused.value.code == "keys_file_invalid"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged: it is not one whole JSON document"),
        (b"{", "damaged: it is not one whole JSON document"),
        (b'{"format": 2, "keys": []}', "at /format"),
        (b" " * (1 << 20) + b"{}", "more than 1048576 bytes"),
    ],
    ids=["empty", "cut", "format", "large"],
)
def test_a_damaged_file_is_refused(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StartupError, match=sentence):
        read_keys(path)


def test_the_same_id_twice_is_refused(path: Path) -> None:
    add_key(path)
    document = orjson.loads(path.read_bytes())
    document["keys"] *= 2
    path.write_bytes(orjson.dumps(document))
    with pytest.raises(StartupError, match="an id stands there twice"):
        read_keys(path)


def test_a_file_that_is_not_there_is_refused_with_the_way_to_make_it(path: Path) -> None:
    with pytest.raises(StartupError, match=f"slimvec keys add --keys-file {path}"):
        read_keys(path)


def test_a_folder_that_is_not_there_is_refused_as_one(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"there is no folder .*/none; make it first"):
        add_key(tmp_path / "none" / "keys.json")


def test_a_folder_in_place_of_the_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="is a directory; name a file in it"):
        read_keys(tmp_path)
