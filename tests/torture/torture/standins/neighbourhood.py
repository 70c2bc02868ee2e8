"""The thread in which stand-ins live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Neighbourhood:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def do(self, act: Callable[[], T]) -> T:
        """Has something done there, and waits for it."""
        async def wrapped() -> T:
            return act()
        return self.start(wrapped()).result(20)

    def start(self, task: Coroutine[Any, Any, T]) -> Future[T]:
        """Begins something that takes its time."""
        return asyncio.run_coroutine_threadsafe(task, self.loop)
