"""The load generator for a server that refuses some: clients that come again when they are told to.

    python -m benchmarks.overload PORT CONNECTIONS SECONDS < request

As `benchmarks.load`, but 429 and 503 are answers, too: whoever gets one waits for its Retry-After.
Prints one JSON object, in which p99_ms is that of the refusals.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from array import array
from dataclasses import asdict, replace
from math import nan
from time import perf_counter

import uvloop

from benchmarks.load import Connection, Load, Window, body_length, drive_all

_REFUSED = re.compile(rb"HTTP/1\.1 (?:429|503) ")
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "


class PatientConnection(Connection):
    """Waits as long as it is told before it sends again.

    Args:
        request: what is sent.
        window: shared by all.
        refusals: the seconds that each took, of all.
    """

    def __init__(self, request: bytes, window: Window, refusals: array[float]) -> None:
        super().__init__(request, window)
        self._refusals = refusals
        self._wait_s: int | None = None

    def _read_head(self, head: bytes) -> int:
        refused = _REFUSED.match(head)
        if refused is None:
            self._wait_s = None
            return super()._read_head(head)
        told = _RETRY_AFTER.search(head)
        self._wait_s = int(told[1]) if told else 1
        return body_length(_OK + head[refused.end() :])

    def _go_on(self) -> None:
        if self._wait_s is None:
            super()._go_on()
            return
        self._refusals.append(perf_counter() - self._sent_at)
        asyncio.get_running_loop().call_later(self._wait_s, self._come_again)

    def _come_again(self) -> None:
        if self._window.has_ended:
            self._stop(None)
        elif not self.stopped.done():
            self._send()


async def drive(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Load the server on a port of this machine.

    Raises:
        BadAnswer: a connection got neither an answer nor a refusal that it may come again after.
    """
    window, refusals = Window(connections, seconds), array("d")
    clients = [PatientConnection(request, window, refusals) for _ in range(connections)]
    await drive_all(port, clients)
    ordered = sorted(refusals)
    p99_ms = ordered[round((len(ordered) - 1) * 0.99)] * 1e3 if ordered else nan
    return replace(window.result(), p99_ms=p99_ms)


def main() -> None:
    """Read the request from stdin, drive, print."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = sys.stdin.buffer.read()
    run = drive(port, request, connections=connections, seconds=seconds)
    print(json.dumps(asdict(uvloop.run(run))))


if __name__ == "__main__":
    main()
