"""One thread for all work with models, which are not for several at once: whoever asks first is served first, step by step."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from actionrec.web.predict_request import Limits, RequestError

P = ParamSpec("P")
R = TypeVar("R")


class FairQueue:
    """The queue for that thread. Between two steps of one request, the others' steps have their turn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "models")
        self._present = 0
        self._ended = False
        self._ends: set[asyncio.Future[None]] = set()  # of those who are to hear of it

    @property
    def full(self) -> bool:
        """Whether there are as many at work or waiting as may be."""
        return self._present >= self._limits.waiting

    @contextmanager
    def present(self) -> Iterator[None]:
        """Be one of those at work or waiting.

        Raises:
            RequestError: there are as many as may be.
        """
        if self.full:
            raise self._limits.too_busy()
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    async def unless_ended(self, awaited: Awaitable[R], patience: float | None = None) -> R:
        """Await something, but no longer than the server runs.

        Args:
            patience: seconds; None for any number.

        Raises:
            RequestError: the server ends.
            TimeoutError: it took longer.
        """
        work = asyncio.ensure_future(awaited)
        end = asyncio.get_running_loop().create_future()
        self._ends.add(end)
        try:
            if not self._ended:
                await asyncio.wait({work, end}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not work.cancelled():
                return work.result()
            if self._ended:
                raise _ending()
            raise TimeoutError
        finally:
            self._ends.discard(end)
            work.cancel()

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something in that thread, in its turn.

        Raises:
            RequestError: the server ends.
        """
        if self._ended:
            raise _ending()
        return await self.unless_ended(asyncio.wrap_future(self._thread.submit(work, *args, **kwargs)))

    async def each(self, steps: Iterator[R]) -> AsyncGenerator[R, None]:
        """Do an iterator's steps, each in its turn."""
        while (step := await self.run(next, steps, None)) is not None:
            yield step

    def end(self) -> None:
        """Forget what waits, and tell all who wait for it; a step that has begun ends by itself."""
        self._ended = True
        for waiting in self._ends:
            if not waiting.done():
                waiting.set_result(None)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _ending() -> RequestError:
    return RequestError(503, "the server is ending. Try again when it is back.")
