"""A thread beside the event loop, and what is told when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from app.errors import Unavailable

T = TypeVar("T")


def begin(thread: Executor, function: Callable[[], T]) -> asyncio.Future[T]:
    """Call a function there.

    Raises:
        Unavailable: `draining`: the thread takes nothing more, because the server is ending.
    """
    loop = asyncio.get_running_loop()
    try:
        return loop.run_in_executor(thread, function)
    except RuntimeError:  # a closed executor has no error of its own
        raise Unavailable("draining", "the server is shutting down; nothing was begun") from None


def done(function: Callable[[], T]) -> asyncio.Future[T]:
    """Call a function at once, and give its result, or its error, to whoever awaits it."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
    return future
