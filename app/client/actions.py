"""What a verb does on the wire, without doing it.

A verb is a `Flow`: a generator that yields actions and is sent each one's outcome. It holds every
decision (what to send, whether to try again, what an answer means); `Client` and `AsyncClient`
perform actions and decide nothing. An error is an outcome too: it is raised inside the flow.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from app.client.acknowledgements import Item
from app.errors import SlimvecError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        body: parts that are sent one after another.
        is_repeatable: sending it twice is as good as once, so it may be sent again even when
            nobody knows what became of the first.
    """

    method: str
    path: str
    _: KW_ONLY
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[bytes, ...] = ()
    is_repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read the whole `Answer`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Upload:
    """Send a request whose body is the user's batches, a frame each; read the whole `Answer`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; a refusal is read whole, the body of a 200 is left to `ReadLine`."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadLine:
    """Read the next line of the opened answer: text, or None at its end."""


@dataclass(frozen=True, slots=True)
class TakeBatch:
    """Take the user's next batch, or None after the last one."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an item to the user."""

    item: Item


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The end of a flow, with what the verb returns."""

    value: T


WireAction: TypeAlias = Send | Upload | Open | ReadLine | TakeBatch | Pause
Action: TypeAlias = WireAction | Emit
Flow: TypeAlias = Generator[Action, Any, T]


def advance(flow: Flow[T], outcome: object = None) -> Action | Done[T]:
    """The next action of a flow, given the outcome of the last one."""
    try:
        return flow.throw(outcome) if isinstance(outcome, SlimvecError) else flow.send(outcome)
    except StopIteration as end:
        return Done(end.value)
