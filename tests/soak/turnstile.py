"""Where visitors wait while the server is measured, so that nothing of theirs is measured too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

_PATIENCE_S = 120.0


class Turnstile:
    """Lets visitors in one by one, holds them all back for a moment, and closes for good."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._num_inside = 0
        self._is_open = True
        self._is_over = False

    @contextmanager
    def visit(self) -> Iterator[bool]:
        """Wait until the way is free; whether there is a visit at all."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or self._is_over)
            self._num_inside += 1
            is_on = not self._is_over
        try:
            yield is_on
        finally:
            with self._changed:
                self._num_inside -= 1
                self._changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody is inside, and nobody comes in."""
        with self._changed:
            self._is_open = False
            is_empty = self._changed.wait_for(lambda: not self._num_inside, _PATIENCE_S)
        assert is_empty, f"a visit did not end within {_PATIENCE_S} s"
        yield
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def close(self) -> None:
        """Send everybody home."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
