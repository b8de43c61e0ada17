"""Whether to try again, and when: tenacity's strategies, one step at a time, without sleeping."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import (
    DoSleep,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from app.client.actions import Answer, Flow, Pause, Request, Send
from app.client.refusals import accepted, retry_after_s
from app.client.trouble import Interrupted, Unreachable
from app.errors import InProgress, OutcomeUnknown, QueueFull, SlimvecError, StorageFull, Unavailable

# Only a person can end these.
_LASTING = frozenset({"model_not_loaded", "read_only"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long to insist.

    Attributes:
        total_s: no try begins later than this after the first one; of a stream, after the last
            record that was settled. 0 means one try.
        first_s, longest_s: the waits grow from one to the other, at random below that.
        when_storage_full: also wait for room on the server's disk (507).
    """

    total_s: float = 60.0
    first_s: float = 0.1
    longest_s: float = 5.0
    when_storage_full: bool = False


class Tries:
    """The tries of one request.

    Args:
        retries: how long to insist.
        is_repeatable: as in `Request`.
    """

    def __init__(self, retries: Retries, *, is_repeatable: bool) -> None:
        self._retries = retries
        self._is_repeatable = is_repeatable
        self._retrying = Retrying(
            retry=retry_if_exception(self._is_worth_another),
            wait=_AtLeastRetryAfter(retries),
            stop=stop_before_delay(retries.total_s),
            reraise=True,
        )
        self.start_anew()

    def start_anew(self) -> None:
        """Count from here: something went well."""
        self._retrying.begin()
        self._state = RetryCallState(self._retrying, fn=None, args=(), kwargs={})

    def pause_after(self, error: SlimvecError) -> float:
        """Seconds to wait before the next try.

        Raises:
            SlimvecError: the error itself, when there shall be no other try.
        """
        self._state.set_exception((type(error), error, error.__traceback__))
        pause = self._retrying.iter(self._state)
        assert isinstance(pause, DoSleep)
        self._state.prepare_for_next_attempt()
        return float(pause)

    def _is_worth_another(self, error: BaseException) -> bool:
        match error:
            case Interrupted() | OutcomeUnknown():
                return self._is_repeatable
            case StorageFull():
                return self._retries.when_storage_full
            case Unavailable(code=code):
                return code not in _LASTING
        return isinstance(error, Unreachable | InProgress | QueueFull)


class _AtLeastRetryAfter(wait_base):
    """Exponential waits with full jitter, on top of what the server asked for."""

    def __init__(self, retries: Retries) -> None:
        self._jitter = wait_random_exponential(multiplier=retries.first_s, max=retries.longest_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome else None
        asked_s = retry_after_s(error) if error else 0.0
        return asked_s + self._jitter(retry_state)


def send(request: Request, retries: Retries) -> Flow[Answer]:
    """Send a request until it is accepted.

    Raises:
        SlimvecError: the last refusal or trouble.
    """
    tries = Tries(retries, is_repeatable=request.is_repeatable)
    while True:
        try:
            answer: Answer = yield Send(request)
            return accepted(answer)
        except SlimvecError as error:
            pause_s = tries.pause_after(error)
        yield Pause(pause_s)
