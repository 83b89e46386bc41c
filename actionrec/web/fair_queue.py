"""Queue for all work with models: one thread, the steps of some requests interleaved, further requests in line behind them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from actionrec.web.predict_request import Limits, RequestError

P = ParamSpec("P")
R = TypeVar("R")

_REPEAT = 1.0  # seconds after which a waiting request's place is yielded again, which detects clients that left
_RESTART = 60  # seconds


class FairQueue:
    """Runs one step at a time in one thread.

    The first `limits.interleaved` requests take turns: between two steps of one, the steps of the others run. Further ones wait in
    line, and start in the order in which they came.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "models")
        self._present = 0
        self._line: list[object] = []  # running requests, then waiting ones
        self._moved = asyncio.Event()  # replaced each time that the line moves
        self._stopped = False
        self._stop_signals: set[asyncio.Future[None]] = set()  # one for each pending `unless_stopped`

    @property
    def full(self) -> bool:
        """Whether the limit of running and waiting requests is reached."""
        return self._present >= self._limits.waiting

    @contextmanager
    def present(self) -> Iterator[None]:
        """Count as one of the running and waiting requests.

        Raises:
            RequestError: the queue is full.
        """
        if self.full:
            raise self._limits.too_busy()
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    @contextmanager
    def in_line(self) -> Iterator[object]:
        """Join the line's end; yield a ticket for `places`."""
        ticket = object()
        self._line.append(ticket)
        try:
            yield ticket
        finally:
            self._line.remove(ticket)
            self._moved.set()
            self._moved = asyncio.Event()

    async def places(self, ticket: object) -> AsyncGenerator[int, None]:
        """Yield a waiting request's place, from 1, at each change and at least once a second; end when it may run.

        Raises:
            RequestError: the server stops.
        """
        while (place := self._line.index(ticket) - self._limits.interleaved + 1) > 0:
            yield place
            try:
                await self.unless_stopped(self._moved.wait(), _REPEAT)
            except TimeoutError:
                continue

    async def unless_stopped(self, awaited: Awaitable[R], timeout: float | None = None) -> R:
        """Await something while the server runs.

        Args:
            timeout: seconds; None for no limit.

        Raises:
            RequestError: the server stops.
            TimeoutError: it took longer.
        """
        work = asyncio.ensure_future(awaited)
        stop = asyncio.get_running_loop().create_future()
        self._stop_signals.add(stop)
        try:
            if not self._stopped:
                await asyncio.wait({work, stop}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not work.cancelled():
                return work.result()
            if self._stopped:
                raise _stopping()
            raise TimeoutError
        finally:
            self._stop_signals.discard(stop)
            work.cancel()

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the queue's thread.

        Raises:
            RequestError: the server stops.
        """
        if self._stopped:
            raise _stopping()
        return await self.unless_stopped(asyncio.wrap_future(self._thread.submit(work, *args, **kwargs)))

    async def each(self, steps: Iterator[R]) -> AsyncGenerator[R, None]:
        """Run an iterator, each step as an entry of its own in the queue."""
        while (step := await self.run(next, steps, None)) is not None:
            yield step

    def end(self) -> None:
        """Cancel the waiting steps, and fail the requests that wait for them; a running step runs to its end."""
        self._stopped = True
        for waiting in self._stop_signals:
            if not waiting.done():
                waiting.set_result(None)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _stopping() -> RequestError:
    return RequestError(503, "the server is stopping. Try again when it is back.", retry_after=_RESTART)
