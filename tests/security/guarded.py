"""A server that wants API keys, for the tests of the gate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.access import KeyScope
from tests.api_keys import add_key
from tests.conftest import MODELS
from tests.server import RunningServer, create, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A server that wants keys, with one of each kind."""

    server: RunningServer
    keys_file: Path
    keys: Mapping[str, str]

    def ask(
        self, key: str | None, method: str, path: str, *, body: object = None, **headers: str
    ) -> httpx.Response:
        """Ask with one of the keys, by its name."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {self.keys[key]}"
        return httpx.request(method, self.server.url + path, json=body, headers=sent)


@contextmanager
def guarding(folder: Path, **settings: Any) -> Iterator[Guarded]:
    """Serve the models `small` and `other` to whoever has a key."""
    path = folder / "keys.json"
    keys = {
        **{scope.word: add_key(path, scope) for scope in KeyScope},
        "small-only": add_key(path, KeyScope.ADMIN, ("sm*l",)),
        "expired": add_key(path, KeyScope.ADMIN, expires_s=time.time() - 1),
    }
    with serving(folder / "models", keys_file=path, **settings) as server:
        server.http.headers["authorization"] = f"Bearer {keys['admin']}"
        for name in ("small", "other"):
            create(server, name, MODELS["small"])
        yield Guarded(server=server, keys_file=path, keys=keys)
