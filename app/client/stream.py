"""A training stream from the client's side: windows of records, resumed where they broke off.

httpx reads no answer before the request has ended, so the stream is cut into requests: each one
carries as many records as fit the window, then its acknowledgements are read. A record is held
until it is settled; whatever goes wrong before that, it is sent again under the same key, and the
server applies it once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.client.acknowledgements import Acknowledgement, Refused
from app.client.actions import Answer, Emit, Flow, Open, Pause, ReadLine, Request, TakeBatch
from app.client.arrays import BatchLike, pack_frame
from app.client.refusals import accepted, not_understood, problem_error
from app.client.retries import Retries, Tries
from app.client.trouble import Interrupted
from app.codecs import parse_object
from app.errors import Malformed, SlimvecError, TooLarge, Unacceptable

# What is wrong with one record; anything else is wrong with the server, or with all of them.
_OF_ONE_RECORD = (Malformed, Unacceptable, TooLarge)
_ACKNOWLEDGEMENT: TypeAdapter[Acknowledgement] = TypeAdapter(Acknowledgement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much is sent before the acknowledgements are read, and held until then.

    Attributes:
        records: at most so many.
        num_bytes: no further record when so many bytes are there.
    """

    records: int = 256
    num_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    frame: bytes


class Stream:
    """One training stream.

    Args:
        request: makes the request for these frames.
        key: what the records' keys begin with.
        skips: go on after a refused record.
        window: how much is outstanding.
        retries: how long to insist when nothing is settled any more.
    """

    def __init__(
        self,
        request: Callable[[tuple[bytes, ...]], Request],
        *,
        key: str,
        skips: bool,
        window: Window,
        retries: Retries,
    ) -> None:
        self._request = request
        self._key = key
        self._skips = skips
        self._window = window
        self._tries = Tries(retries, is_repeatable=True)
        self._records: deque[_Record] = deque()
        self._num_taken = 0
        self._has_ended = False

    def run(self) -> Flow[None]:
        """Send everything, emitting what is settled.

        Raises:
            SlimvecError: a record was refused, unless such are skipped; or nothing was settled
                for too long.
        """
        while True:
            yield from self._fill()
            if not self._records:
                return
            try:
                yield from self._send_window()
            except SlimvecError as error:
                pause_s = self._tries.pause_after(error)
            else:
                continue
            yield Pause(pause_s)

    def _fill(self) -> Flow[None]:
        num_bytes = sum(len(record.frame) for record in self._records)
        while not self._has_ended and self._has_room(num_bytes):
            batch: BatchLike | None = yield TakeBatch()
            if batch is None:
                self._has_ended = True
                return
            self._num_taken += 1
            frame = pack_frame(batch, f"{self._key}-{self._num_taken}")
            self._records.append(_Record(self._num_taken, frame))
            num_bytes += len(frame)

    def _has_room(self, num_bytes: int) -> bool:
        return len(self._records) < self._window.records and num_bytes < self._window.num_bytes

    def _send_window(self) -> Flow[None]:
        """Send what is outstanding, once; returns when all of it is settled."""
        sent = [record.number for record in self._records]
        body = tuple(record.frame for record in self._records)
        answer: Answer = yield Open(self._request(body))
        accepted(answer)
        while (line := (yield ReadLine())) is not None:
            if line.strip():
                yield from self._settle(_parse(line), sent)
        if self._records:
            raise Interrupted(
                "expected every record to be settled, the answer ended before; see the server's log"
            )

    def _settle(self, line: dict[str, Any], sent: list[int]) -> Flow[None]:
        """Take one line of the answer; its record numbers count those of this request."""
        if "error" not in line:
            acknowledgement = _acknowledgement(line, sent)
            while self._records and self._records[0].number <= acknowledgement.ack:
                self._records.popleft()
            self._tries.start_anew()
            yield Emit(acknowledgement)
            return
        error = problem_error(line["error"] if isinstance(line["error"], dict) else {})
        if not isinstance(error, _OF_ONE_RECORD):
            raise error
        number = _number(line.get("record"), sent)
        self._records = deque(record for record in self._records if record.number != number)
        self._tries.start_anew()
        yield Emit(Refused(number, error))
        if not self._skips:
            raise error


def _parse(line: str) -> dict[str, Any]:
    try:
        return parse_object(line.encode())
    except SlimvecError:
        raise not_understood("a line that is no JSON object") from None


def _acknowledgement(line: dict[str, Any], sent: list[int]) -> Acknowledgement:
    number = _number(line.get("ack"), sent)
    try:
        return _ACKNOWLEDGEMENT.validate_python({**line, "ack": number})
    except ValidationError:
        raise not_understood("another line than an acknowledgement") from None


def _number(value: Any, sent: list[int]) -> int:
    """The number in the whole stream of the record with that number in this request."""
    if type(value) is not int or not 0 < value <= len(sent):
        raise not_understood("the number of no record that was sent")
    return sent[value - 1]
