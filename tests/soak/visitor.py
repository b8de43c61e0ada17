"""One client of a soak: its connection, its keys, and what it takes as an answer."""

from __future__ import annotations

from itertools import count
from random import Random

import numpy as np

from tests.crash.wire import Reply, Wire
from tests.security.catalogue.request import JSON

WIDTHS = {"small": 8, "wide": 384, "nested": 8}
OK = frozenset({200})

Address = tuple[str, int]
Rows = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Unexpected(AssertionError):
    """An answer that no client should get."""


class Visitor:
    """One client: a connection that is kept, a random mind, and keys of its own.

    Attributes:
        num_requests: that it has sent.
    """

    _numbers = count(1)

    def __init__(self, address: Address) -> None:
        self.number = next(self._numbers)
        self.address = address
        self.random = Random(self.number)
        self.wire = Wire(address)
        self.num_requests = 0
        self._array = np.random.default_rng(self.number)
        self._keys = count(1)

    def rows(self, model: str, num_rows: int) -> Rows:
        return self._array.standard_normal((num_rows, WIDTHS[model]), np.float32)

    def key(self) -> str:
        return f"visitor-{self.number}-{next(self._keys)}"

    def ask(
        self, method: str, path: str, body: bytes | None = None,
        expected: frozenset[int] = OK, media_type: str = JSON, **headers: str,
    ) -> Reply:  # fmt: skip
        self.num_requests += 1
        reply = self.wire.send(method, path, body, Content_Type=media_type, **headers)
        check(reply, expected, f"{method} {path}")
        return reply


def check(reply: Reply, expected: frozenset[int], what: str) -> None:
    """Raise `Unexpected` for any other status."""
    if reply.status not in expected:
        raise Unexpected(f"{what}: {reply.status} {reply.body[:300]!r}")
