"""A load generator of one training stream: the same frame, over and over, never a pause.

    python -m benchmarks.stream_load PORT PATH SECONDS < frame

Sends as fast as the server takes it and reads the acknowledgements meanwhile. Prints a line when
the first one has come, and at the end one JSON object like that of `benchmarks.load`; single
records cannot be timed, because acknowledgements are cumulative.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from math import nan
from time import perf_counter, process_time

import uvloop

from benchmarks.load import BadAnswer, Load

_ACK = re.compile(rb'^\{"ack":(\d+)')
_WARM_UP_SHARE = 0.2


class Acknowledgements:
    """Counts what is settled, from the first acknowledgement after the warm-up on."""

    def __init__(self, seconds: float) -> None:
        self.newest = 0
        self._seconds = seconds
        self._counting_from = perf_counter() + seconds * _WARM_UP_SHARE
        self._began: tuple[int, float, float] | None = None  # record, time, CPU seconds
        self.load: Load | None = None

    def note(self, line: bytes) -> None:
        """Read one line of the answer.

        Raises:
            BadAnswer: the server refused a record.
        """
        found = _ACK.match(line)
        if not found:
            if line.startswith(b"{"):
                raise BadAnswer(line.decode(errors="replace")[:500])
            return  # the head of the answer, and the lengths between its chunks
        if not self.newest:
            print("begun", flush=True)
        self.newest, now = int(found[1]), perf_counter()
        if self._began is None:
            if now >= self._counting_from:
                self._began = self.newest, now, process_time()
        elif self.load is None and now - self._began[1] >= self._seconds:
            count, elapsed = self.newest - self._began[0], now - self._began[1]
            cpu = process_time() - self._began[2]
            self.load = Load(count / elapsed, nan, nan, cpu / elapsed, self.newest)


async def drive(port: int, path: str, frame: bytes, *, seconds: float) -> Load:
    """Stream to the server on a port of this machine.

    Raises:
        BadAnswer: it refused a record, or ended the stream.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/x-slimvec-frames\r\n\r\n".encode()
    )
    seen = Acknowledgements(seconds)
    sending = asyncio.create_task(_send(writer, frame, seen))
    try:
        while True:
            if not (line := await reader.readline()):
                raise BadAnswer("the stream was ended")
            seen.note(line)
            if seen.load and sending.done() and seen.newest == sending.result():
                return replace(seen.load, answered=seen.newest)
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await sending
        writer.close()


async def _send(writer: asyncio.StreamWriter, frame: bytes, seen: Acknowledgements) -> int:
    """Send until enough is acknowledged; returns how many frames that were."""
    chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
    count = 0
    while seen.load is None:
        writer.write(chunk)
        await writer.drain()
        count += 1
    return count


def main() -> None:
    """Read the frame from stdin, drive, print."""
    port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    frame = sys.stdin.buffer.read()
    print(json.dumps(asdict(uvloop.run(drive(port, path, frame, seconds=seconds)))))


if __name__ == "__main__":
    main()
