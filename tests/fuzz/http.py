"""`python -m tests.fuzz.http [COUNT [SEED]]`: requests that are nearly good, over raw sockets.

Each mutant is a good request, or several, with a few random changes to its bytes, sent in one
piece or in several, with a last good request behind it. Whatever becomes of it, the server has to
close the connection within its deadlines, and nothing is its own fault (5xx).
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from tests.conftest import MODELS
from tests.security.catalogue.request import GOLDEN, declared, npy, row_of
from tests.security.wire import Head
from tests.server import RunningServer, create, serving

_COUNT = 1_000_000
_SEED = 1
_AT_ONCE = 400
_PATIENCE_S = 60.0  # many times any deadline of the server: a hang, not a slow machine
_STATUS = re.compile(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ")
_BODY = f'{{"hidden_states": {row_of()}}}'.encode()
_LAST = Head(line="GET /health/live HTTP/1.1", headers=("Connection: close",)).encode()


def _request(line: str, body: bytes, *headers: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return Head(line=f"{line} HTTP/1.1", headers=(*headers, length)).encode() + body


_JSON = "Content-Type: application/json"
_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)
_UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_GOOD = (
    Head(line="GET /models HTTP/1.1", headers=("Accept: */*", "User-Agent: fuzz")).encode(),
    _request("POST /reduce", _BODY, _JSON, "Expect: 100-continue"),
    _request("POST /models/small/reduce?normalize=true", npy(declared(GOLDEN)),
             "Content-Type: application/x-npy"),
    _request("POST /train-step", _BODY, _JSON, "Idempotency-Key: k", 'If-Match: "1"'),
    Head(headers=(_JSON, "Transfer-Encoding: chunked")).encode() + _CHUNKS,
    Head(line="POST /train-stream HTTP/1.1",
         headers=("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")).encode()
    + _CHUNKS,
    Head(line="GET /train-stream HTTP/1.1", headers=_UPGRADE).encode() + b"\x81\x85\0\0\0\0hello",
    Head(line="GET /health/live HTTP/1.0").encode(),
)  # fmt: skip
_TOKENS = (
    *(b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b";", b"\r\n\r\n", b"\r\n ", b"%00"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Host: evil\r\n"),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: x\r\n"),
    *(b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"http://evil/", b"../", b"//", b"?", b"#", b"*"),
    *(b"ffffffffffffffff\r\n", b"0\r\n\r\n", b"\xff\xfe", b"\xc3\xa9", b"a" * 20_000),
    b"A: b\r\n" * 120,
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What came of the mutants.

    Attributes:
        sent: mutants.
        statuses: of the answers, how often each.
        faults: mutants that hung or were answered 5xx, with what came.
    """

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[tuple[bytes, bytes]] = field(default_factory=list)


def mutants(seed: int) -> Iterator[list[bytes]]:
    """Requests without end, each in the pieces that it is to be sent in; the same for a seed."""
    random = Random(seed)
    while True:
        data = bytearray(b"".join(random.choices(_GOOD, k=random.choice((1, 1, 1, 2, 5)))))
        for _ in range(random.choice((1, 1, 2, 3, 8))):
            random.choice(_CHANGES)(random, data)
        data += _LAST
        cuts = sorted(random.randrange(len(data)) for _ in range(random.choice((0, 0, 0, 1, 4))))
        yield [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def _insert(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = random.choice(_TOKENS)


def _cut(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 2, 10, 100))]
    data += b"GET" if not data else b""  # nothing is left that could be changed


def _copy(random: Random, data: bytearray) -> None:
    at, to = random.randrange(len(data)), random.randrange(len(data))
    data[to:to] = data[at : at + random.choice((1, 10, 100))]


def _swap_lines(random: Random, data: bytearray) -> None:
    lines = data.split(b"\r\n")
    random.shuffle(lines)
    data[:] = b"\r\n".join(lines)


_CHANGES: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip, _flip, _insert, _insert, _insert, _cut, _copy, _swap_lines),
)


async def fuzz(url: str, pieces: Iterator[list[bytes]]) -> Tally:
    """Send every mutant, many at once."""
    parts, tally = urlsplit(url), Tally()
    assert parts.hostname is not None
    assert parts.port is not None

    async def worker(host: str, port: int) -> None:
        for mutant in pieces:
            received = await _send(host, port, mutant)
            statuses = [int(status) for status in _STATUS.findall(received or b"")]
            tally.sent += 1
            tally.statuses.update(statuses)
            if received is None or any(status >= 500 for status in statuses):
                tally.faults.append((b"".join(mutant), received or b"it never ended"))

    await asyncio.gather(*(worker(parts.hostname, parts.port) for _ in range(_AT_ONCE)))
    return tally


async def _send(host: str, port: int, mutant: list[bytes]) -> bytes | None:
    """What came back until the server closed; None: it did not."""
    reader, writer = await asyncio.open_connection(host, port)
    received = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            with suppress(ConnectionError):
                for piece in mutant:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                while piece := await reader.read(65_536):
                    received += piece
    except TimeoutError:
        return None
    finally:
        writer.transport.abort()
    return bytes(received)


@contextmanager
def target() -> Iterator[RunningServer]:
    """A server of its own that waits for nothing long."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(
            Path(folder),
            header_timeout_s=1.0,
            body_idle_timeout_s=0.5,
            body_timeout_s=2.0,
            keep_alive_s=1.0,
        ) as server,
    ):
        create(server, "small", MODELS["small"])
        yield server


def main(count: int = _COUNT, seed: int = _SEED) -> int:
    """Fuzz, print the counts; the exit code."""
    with target() as server:
        tally = asyncio.run(fuzz(server.url, islice(mutants(seed), count)))
    for mutant, received in tally.faults[:10]:
        print(f"sent {mutant!r}\ncame {received!r}")  # noqa: T201 what the command is for
    statuses = ", ".join(f"{status}: {number}" for status, number in sorted(tally.statuses.items()))
    print(f"fuzz, HTTP: {tally.sent} mutants, {len(tally.faults)} faults; {statuses}")  # noqa: T201
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
