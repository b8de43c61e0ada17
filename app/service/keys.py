"""Idempotency keys: which requests were carried out already, and what they were answered."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

import orjson

from app.codecs import digest
from app.errors import ArtifactInvalid, InProgress, Malformed, Unacceptable
from app.service.rows import batch_arrays, loss_of
from app.types import ChangeAnswer, Key, TrainStep

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
        fingerprint=digest(batch_arrays(step.batch), {"loss": loss_of(step)}),
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
class Entry:
    """What one key stands for, and what its request was answered."""

    fingerprint: str
    clock_s: float
    answer: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """A request that is being carried out under a key."""

    fingerprint: str
    answer: Future[ChangeAnswer]


class KeyTable:
    """The keys of one model. Threads may share it.

    Args:
        window: how long keys are remembered.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._running: dict[str, Running] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> bytes | Running | None:
        """The stored answer, the running request, or nothing: the key is new.

        Raises:
            Unacceptable: `idempotency_key_reused`: it stands for another request.
        """
        with self._lock:
            known = self._running.get(key.hash) or self._entries.get(key.hash)
        if known is None:
            return None
        if known.fingerprint != key.fingerprint:
            raise Unacceptable(
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request; use a new key for a new step",
            )
        return known if isinstance(known, Running) else known.answer

    def begin(self, key: Key, answer: Future[ChangeAnswer]) -> None:
        """Note that the request is being carried out, until `answer` is resolved."""
        with self._lock:
            self._running[key.hash] = Running(key.fingerprint, answer)
        answer.add_done_callback(lambda _: self._end(key))

    def remember(self, key_hash: str, fingerprint: str, clock_s: float, answer: bytes) -> None:
        """Store what a request was answered; called once it is durable."""
        with self._lock:
            self._entries[key_hash] = Entry(fingerprint, clock_s, answer)
            self._expire(clock_s)

    def dump(self) -> list[tuple[str, Entry]]:
        """Every remembered key at this moment, oldest first; for `to_lines`."""
        with self._lock:
            return list(self._entries.items())

    def load(self, lines: bytes) -> None:
        """Remember what `to_lines` wrote.

        Raises:
            ArtifactInvalid: these are not its lines.
        """
        try:
            for line in lines.splitlines():
                entry = orjson.loads(line)
                answer = entry["answer"].encode()
                self.remember(entry["key"], entry["fingerprint"], float(entry["clock_s"]), answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactInvalid("expected one remembered key a line in keys.jsonl") from error

    def _end(self, key: Key) -> None:
        with self._lock:
            self._running.pop(key.hash, None)

    def _expire(self, clock_s: float) -> None:
        window = self._window
        while len(self._entries) > window.newest:
            oldest = next(iter(self._entries.values()))
            is_old = clock_s - oldest.clock_s > window.age_s
            if not is_old and len(self._entries) <= window.most:
                return
            self._entries.popitem(last=False)


def to_lines(entries: Iterable[tuple[str, Entry]]) -> bytes:
    """The content of keys.jsonl: one remembered key a line."""
    return b"".join(
        orjson.dumps(
            {
                "key": key_hash,
                "fingerprint": entry.fingerprint,
                "clock_s": entry.clock_s,
                "answer": entry.answer.decode(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for key_hash, entry in entries
    )


def in_progress() -> InProgress:
    """The refusal of a request whose twin is being carried out."""
    return InProgress(
        "idempotency_in_progress",
        "the same request is being carried out; try again shortly for its answer",
    )
