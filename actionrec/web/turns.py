"""One thread for all work with models, which are not for several at once: whoever asks first is served first, step by step."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from actionrec.web.requests import Limits

P = ParamSpec("P")
R = TypeVar("R")


class Turns:
    """The queue for that thread. Between two steps of one request, the others' steps have their turn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "models")
        self._present = 0

    @contextmanager
    def present(self) -> Iterator[None]:
        """Be one of those at work or waiting.

        Raises:
            RequestError: there are as many as may be.
        """
        if self._present >= self._limits.waiting:
            raise self._limits.too_busy()
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something in that thread, in its turn."""
        return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))

    async def each(self, steps: Iterator[R]) -> AsyncGenerator[R, None]:
        """Do an iterator's steps, each in its turn."""
        while (step := await self.run(next, steps, None)) is not None:
            yield step

    def close(self) -> None:
        """Forget what waits; what has begun ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
