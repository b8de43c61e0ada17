"""The API key of `slimvec train` and of the clients: from a file or a variable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.access import KeyScope
from app.cli import main
from app.client import AsyncClient, Client
from app.errors import Forbidden, SlimvecError, Unauthorized
from tests.api_keys import add_key
from tests.conftest import MODELS
from tests.server import create, serving


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return {"path": str(path)} | {scope.word: add_key(path, scope) for scope in KeyScope}


@pytest.fixture(scope="module")
def guarded(keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("models"), keys_file=keys["path"]) as server:
        server.http.headers["authorization"] = f"Bearer {keys['admin']}"
        create(server, "small", MODELS["small"])
        yield server.url


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(4, 8)))
    return tmp_path / "rows.npy"


def train(rows: Path, url: str, *flags: str, key: str = "") -> Result:
    arguments = ["train", str(rows), "--url", url, *flags]
    return CliRunner(env={"SLIMVEC_API_KEY": key}).invoke(main, arguments)


def test_a_key_to_train_comes_from_a_variable_or_a_file(
    guarded: str, keys: dict[str, str], rows: Path
) -> None:
    file = rows.with_name("trainer.key")
    file.write_text(keys["train"] + "\n")
    ended = [
        train(rows, guarded, key=keys["train"]),
        train(rows, guarded, "--api-key-file", str(file), key="the file wins"),
    ]
    assert [run.exit_code for run in ended] == [0, 0], ended[0].output + ended[1].output
    assert keys["train"] not in ended[0].output + ended[1].output


def test_without_the_right_key_the_refusal_says_what_is_missing(
    guarded: str, keys: dict[str, str], rows: Path
) -> None:
    none, read = train(rows, guarded), train(rows, guarded, key=keys["read"])
    assert (none.exit_code, "Authorization: Bearer" in none.stderr) == (1, True)
    assert (read.exit_code, "API key of scope train" in read.stderr) == (1, True)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"two\nlines", b"\xff"])
def test_a_file_without_a_key_is_refused_before_anything_is_sent(
    guarded: str, rows: Path, content: bytes
) -> None:
    file = rows.with_name("key")
    file.write_bytes(content)
    refused = train(rows, guarded, "--api-key-file", str(file))
    assert (refused.exit_code, "a file with one API key" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("key", "kind"), [(None, Unauthorized), ("nonsense", Unauthorized), ("read", Forbidden)]
)
def test_the_clients_send_their_key_and_raise_what_the_server_refuses(
    guarded: str, keys: dict[str, str], key: str | None, kind: type[SlimvecError]
) -> None:
    async def state_of() -> None:
        async with AsyncClient(guarded, "small", api_key=keys.get(key or "", key)) as client:
            await client.state()

    with Client(guarded, "small", api_key=keys.get(key or "", key)) as client, pytest.raises(kind):
        client.state()
    with pytest.raises(kind):
        asyncio.run(state_of())
    with Client(guarded, "small", api_key=keys["admin"]) as client:
        assert client.state().version >= 1
