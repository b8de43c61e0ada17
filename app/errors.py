"""What can go wrong, as a tree. No status codes here: `api/errors.py` maps kinds to them.

    SlimvecError
    ├── Malformed               the request cannot be parsed
    ├── Unauthorized            no API key, or none that is known
    ├── Forbidden               whoever asks may not
    ├── Misdirected             the Host is none of ours
    ├── TooSlow                 the request did not come within its time
    ├── Unimplemented           part of a protocol that is not offered here
    ├── UpstreamFailed          the server that makes embeddings of text failed
    ├── UnsupportedMediaType    no codec reads (or writes) that media type
    ├── Unacceptable            parsed, but not acceptable; the state is unchanged
    │   ├── ConfigInvalid           a name or argument in a config
    │   ├── ArtifactInvalid         a weights file or upload
    │   └── StepRejected            a train step that a guard refused
    ├── TooLarge                over a limit
    ├── NotFound                no such model or version
    ├── Conflict                the name or the model's state is in the way
    │   └── InProgress              the same request is being carried out
    ├── PreconditionFailed      the version is not the one asked for
    ├── QueueFull               try again: the queue is bounded
    ├── MustPause               whoever sends this has to pause first
    ├── Unavailable             not ready, draining, storage failed
    │   ├── OutOfMemory             no room for this request on the host or the device
    │   ├── OutcomeUnknown          the disk failed while a change was being made durable
    │   └── UpstreamUnavailable     the server that makes embeddings of text has no time
    ├── StorageFull             no space left for a change or a checkpoint
    └── StartupError            the server cannot start as asked (exit code 2 or 3)

Every error carries a `code` (one machine word), a `detail` (what was expected, what came, what to
do) and, where it helps, a JSON `pointer`. None of them ever carries the offending value's text
from a request: an error must not echo input.
"""

from __future__ import annotations

from typing import Self


def pointer_token(name: object) -> str:
    """One step of a JSON pointer (RFC 6901): escaped, and cut where a name is over-long.

    What cannot be printed, such as a terminal's commands, stands there as its number.
    """
    shown = (c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(name)[:64])
    return "".join(shown).replace("~", "~0").replace("/", "~1")


class SlimvecError(Exception):
    """The root: a `code` for machines, a `detail` for people, a JSON `pointer` for both."""

    def __init__(self, code: str, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.pointer = pointer

    def __str__(self) -> str:
        return self.placed

    @property
    def placed(self) -> str:
        """The detail behind its pointer, for whoever is shown no more than one sentence."""
        is_said = not self.pointer or self.detail.startswith(self.pointer)
        return self.detail if is_said else f"{self.pointer}: {self.detail}"

    def anew(self) -> Self:
        """The same error for another waiter.

        One object that is raised again and again collects the frames of every raise, and keeps
        alive whatever was in them: whole batches.
        """
        copied = type(self).__new__(type(self))
        copied.args = self.args
        copied.__dict__.update(self.__dict__)
        return copied


class Malformed(SlimvecError):
    """The body is not what its media type says."""


class Unauthorized(SlimvecError):
    """There is no API key, or none that is known."""


class Forbidden(SlimvecError):
    """Whoever asks may not."""


class Misdirected(SlimvecError):
    """The Host header names a server that this one is not."""


class TooSlow(SlimvecError):
    """The request did not come within its time; nothing of it was used."""


class Unimplemented(SlimvecError):
    """A part of a protocol that is not offered here."""


class UpstreamFailed(SlimvecError):
    """The server that makes embeddings of text failed, or answered something else."""


class UnsupportedMediaType(SlimvecError):
    """No codec reads this Content-Type or Content-Encoding."""


class NotAcceptable(SlimvecError):
    """No codec writes any media type of the Accept header."""


class Unacceptable(SlimvecError):
    """The body was parsed, and its content cannot be used."""


class ConfigInvalid(Unacceptable):
    """A config names something unknown or gives it a bad argument."""

    def __init__(self, detail: str, *, pointer: str) -> None:
        super().__init__("config_invalid", detail, pointer=pointer)


class ArtifactInvalid(Unacceptable):
    """A weights file is damaged, or of a form that is never read."""

    def __init__(self, detail: str, *, code: str = "artifact_invalid") -> None:
        super().__init__(code, detail)


class StepRejected(Unacceptable):
    """A guard refused the train step; weights, optimizer state and counters are as before."""

    def __init__(self, detail: str, *, reason: str) -> None:
        super().__init__("step_rejected", detail)
        self.reason = reason


class TooLarge(SlimvecError):
    """The request is over a limit."""


class NotFound(SlimvecError):
    """There is no such model, version or path."""


class Conflict(SlimvecError):
    """The name is taken, or the model's state does not allow it."""


class InProgress(Conflict):
    """The same request is being carried out; ask again shortly for its answer."""


class PreconditionFailed(SlimvecError):
    """The serving or training version is not the one that the request asked for."""


class QueueFull(SlimvecError):
    """A bounded queue is full; nothing was accepted. `retry_after_s` says when to come again."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, detail)
        self.retry_after_s = retry_after_s


class MustPause(SlimvecError):
    """Whoever sends this has to pause for `retry_after_s` first; nothing was accepted."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int = 60) -> None:
        super().__init__(code, detail)
        self.retry_after_s = retry_after_s


class Unavailable(SlimvecError):
    """Not ready, draining, or storage failed; nothing was accepted."""


class OutOfMemory(Unavailable):
    """Host or device had no room for a request; nothing changed."""

    def __init__(self) -> None:
        super().__init__(
            "out_of_memory",
            "there is not enough memory for this request now; nothing changed; "
            "send fewer rows at once, or try again shortly",
        )


class OutcomeUnknown(Unavailable):
    """The disk failed while a change was being made durable; whether it is, a restart will tell."""


class UpstreamUnavailable(Unavailable):
    """The server that makes embeddings of text asks for patience."""

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__("upstream_unavailable", detail)
        self.retry_after_s = retry_after_s


class StorageFull(SlimvecError):
    """The disk has no room; the state is unchanged."""


class StartupError(SlimvecError):
    """The server cannot start as asked; `exit_code` is what the process returns."""

    def __init__(self, code: str, detail: str, *, exit_code: int = 2) -> None:
        super().__init__(code, detail)
        self.exit_code = exit_code
