"""Shared work: what several ask for at once, done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedWork(Generic[K, T]):
    """Work under way by what it is of; whoever asks for the same meanwhile waits for that."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[T]] = {}

    async def join(self, key: K, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work under way comes to; begins it where there is none.

        Raises:
            Exception: whatever the work raises, for everybody who waits.
        """
        work = self._under_way.get(key)
        if work is None:
            work = asyncio.create_task(begin())
            self._under_way[key] = work
            work.add_done_callback(partial(self._end, key))
        return await asyncio.shield(work)  # whoever goes does not take it from the others

    def _end(self, key: K, work: asyncio.Task[T]) -> None:
        del self._under_way[key]
        if not work.cancelled():
            work.exception()  # looked at, also when everybody who waited has gone
