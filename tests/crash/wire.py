"""A client that trusts nothing: standard library HTTP, one connection, no retries."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.crash.reference import MODEL

_JSON = {"Content-Type": "application/json"}
_TIMEOUT_S = 60

# What a client sees of a server that dies: the outcome of its request is unknown.
Broken = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def is_replayed(self) -> bool:
        """Whether it is the stored answer of an earlier request."""
        return self.headers.get("idempotency-replayed") == "true"

    @property
    def code(self) -> str:
        """The machine word of a refusal."""
        return str(self.json.get("code", ""))


class Wire:
    """One connection to one server, closed with its `with` block; not for several threads."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Break the connection; the next request makes a new one."""
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send one request; header names are written with underscores.

        Raises:
            OSError, HTTPException: the connection broke.
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, {**_JSON, **given})
        with self._connection.getresponse() as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, names, answer.read())

    def train(self, body: bytes, key: str) -> Reply:
        """One train step with an Idempotency-Key."""
        return self.send("POST", f"/models/{MODEL}/train-step", body, Idempotency_Key=key)

    def reduce(self, body: bytes, path: str = f"/models/{MODEL}/reduce") -> Reply:
        """One reduce."""
        return self.send("POST", path, body)

    def state(self) -> Any:
        """Where the trainer stands."""
        return self.send("GET", f"/models/{MODEL}/state").json
