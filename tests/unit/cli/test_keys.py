"""`slimvec keys`: a key is shown once, and everything else about it whenever it is asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.access import KeyScope, read_keys
from app.cli import main

_KEY = re.compile(r"sv_([0-9a-f]{12})_[0-9a-f]{64}\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(path: Path | None, *arguments: str) -> Result:
    flags = () if path is None else ("--keys-file", str(path))
    return CliRunner().invoke(main, ["keys", *arguments, *flags])


def test_a_key_is_all_that_is_printed_and_only_its_hash_is_kept(path: Path) -> None:
    added = run(path, "add", "--scope", "train", "--model", "news*", "--model", "a")
    assert added.exit_code == 0, added.output
    match = _KEY.fullmatch(added.stdout)
    assert match
    assert added.stdout.strip() not in added.stderr + path.read_text()
    [key] = read_keys(path).values()
    assert (key.caller.id, key.caller.scope, key.caller.models) == (
        match[1], KeyScope.TRAIN, ("news*", "a"),
    )  # fmt: skip


def test_a_list_shows_what_every_key_is_for(path: Path) -> None:
    secret = run(path, "add", "--scope", "admin", "--comment", "the team's").stdout.split("_")[2]
    run(path, "add", "--model", "news", "--expires-days", "1")
    listed = run(path, "list").stdout
    head, first, second = (re.split(" {2,}", line) for line in listed.splitlines())
    assert head == ["id", "scope", "models", "created", "expires", "comment"]
    assert (first[1:3], first[4:]) == (["admin", "*"], ["never", "the team's"])
    assert (second[1:3], second[4] > second[3]) == (["read", "news"], True)
    assert secret.strip() not in listed


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path) -> None:
    for _ in range(2):
        run(path, "add")
    gone, stays = read_keys(path)
    revoked = run(path, "revoke", gone)
    assert (revoked.exit_code, list(read_keys(path))) == (0, [stays])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("revoke", "0" * 12), 1, "expected the id of a key"),
        (("revoke", "../.."), 1, "expected the id of a key"),
        (("add", "--scope", "root"), 2, "'root' is not one of"),
        (("add", "--model", "[a-z]"), 2, "expected a model's name"),
        (("add", "--expires-days", "0"), 2, "not in the range"),
        (("add", "--comment", "two\nlines"), 2, "expected one line"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_the_file(
    path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    run(path, "add")
    before = path.read_bytes()
    refused = run(path, *arguments)
    assert (refused.exit_code, path.read_bytes()) == (code, before)
    assert sentence in refused.output


@pytest.mark.parametrize("command", ["add", "list"])
def test_without_a_file_there_is_nothing_to_do(command: str, tmp_path: Path) -> None:
    nowhere = run(None, command)
    assert (nowhere.exit_code, "expected --keys-file FILE" in nowhere.output) == (2, True)
    assert run(tmp_path / "none" / "keys.json", command).exit_code == 2
