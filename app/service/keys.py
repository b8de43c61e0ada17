"""Idempotency keys: which requests were carried out already, and what they were answered."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

import orjson

from app.codecs import digest
from app.errors import ArtifactInvalid, InProgress, Malformed, Unacceptable
from app.service.rows import step_options
from app.types import Key, TrainStep

if TYPE_CHECKING:
    from app.engine import Job

_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


def make_key(text: str, sender: str, step: TrainStep) -> Key:
    """The key of a train step.

    Args:
        text: the header's value.
        sender: who sends it (the API key's id): two senders never share a key.
        step: decoded, so that the same batch as JSON and as binary is the same content.

    Raises:
        Malformed: `bad_idempotency_key`.
    """
    if not _KEY.fullmatch(text):
        raise Malformed(
            "bad_idempotency_key",
            "expected an Idempotency-Key of 1 to 255 printable ASCII characters",
        )
    return Key(
        hash=sha256(f"{sender}\0{text}".encode()).hexdigest(),
        fingerprint=digest(step.batch.arrays(), step_options(step)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How long a key is remembered: while it is young, or among the newest; never beyond `most`.

    Attributes:
        age_s: in seconds that the model has been served: a clock that jumps forgets nothing.
        newest: so many are remembered at any age.
        most: so many at the most, at any age.
    """

    age_s: float
    newest: int
    most: int


@dataclass(frozen=True, slots=True)
class Running:
    """A request that is being carried out under a key."""

    fingerprint: str
    job: Job


class KeyTable:
    """The keys of one model. Threads may share it.

    A key is kept as its line of keys.jsonl, encoded once: a checkpoint of 100,000 keys must not
    hold up the trainer, or whoever looks for a key meanwhile.

    Args:
        window: how long keys are remembered.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._lines: OrderedDict[str, bytes] = OrderedDict()
        self._running: dict[str, Running] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, key: Key) -> bytes | Running | None:
        """The stored answer, the running request, or nothing: the key is new.

        Raises:
            Unacceptable: `idempotency_key_reused`: it stands for another request.
        """
        with self._lock:
            running, line = self._running.get(key.hash), self._lines.get(key.hash)
        if running is not None:
            _check_same(key, running.fingerprint)
            return running
        if line is None:
            return None
        entry = orjson.loads(line)
        _check_same(key, entry["fingerprint"])
        answer: str = entry["answer"]
        return answer.encode()

    def begin(self, key: Key, job: Job) -> None:
        """Note that the request is being carried out, until the job is answered."""
        with self._lock:
            self._running[key.hash] = Running(key.fingerprint, job)
        job.answer.add_done_callback(lambda _: self._end(key))

    def remember(self, key_hash: str, fingerprint: str, clock_s: float, answer: bytes) -> None:
        """Store what a request was answered; called once it is durable."""
        entry = {
            "key": key_hash,
            "fingerprint": fingerprint,
            "clock_s": clock_s,
            "answer": answer.decode(),
        }
        self._add(key_hash, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE), clock_s)

    def dump(self) -> list[bytes]:
        """The line of every remembered key at this moment, oldest first."""
        with self._lock:
            return list(self._lines.values())

    def load(self, lines: bytes) -> None:
        """Remember what `dump` gave.

        Raises:
            ArtifactInvalid: these are not its lines.
        """
        try:
            for line in lines.splitlines(keepends=True):
                self._add(*_read(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactInvalid("expected one remembered key a line in keys.jsonl") from error

    def _end(self, key: Key) -> None:
        with self._lock:
            self._running.pop(key.hash, None)

    def _add(self, key_hash: str, line: bytes, clock_s: float) -> None:
        with self._lock:
            self._lines[key_hash] = line
            self._expire(clock_s)

    def _expire(self, clock_s: float) -> None:
        window = self._window
        while len(self._lines) > window.newest:
            oldest = orjson.loads(next(iter(self._lines.values())))
            is_old = clock_s - oldest["clock_s"] > window.age_s
            if not is_old and len(self._lines) <= window.most:
                return
            self._lines.popitem(last=False)


def _read(line: bytes) -> tuple[str, bytes, float]:
    entry = orjson.loads(line)
    key_hash, fingerprint, answer = entry["key"], entry["fingerprint"], entry["answer"]
    if not all(isinstance(text, str) for text in (key_hash, fingerprint, answer)):
        raise TypeError
    return key_hash, line, float(entry["clock_s"])


def _check_same(key: Key, fingerprint: str) -> None:
    if key.fingerprint != fingerprint:
        raise Unacceptable(
            "idempotency_key_reused",
            "this Idempotency-Key was used for another request; use a new key for a new step",
        )


def in_progress() -> InProgress:
    """The refusal of a request whose twin is being carried out."""
    return InProgress(
        "idempotency_in_progress",
        "the same request is being carried out; try again shortly for its answer",
    )
