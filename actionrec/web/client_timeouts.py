"""HTTP connections with time limits for the client, and with a limit of their number.

uvicorn itself closes only connections that are idle between two requests. A client that sends half a header, or that does not read
its answer, would keep its connection for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from actionrec.web.predict_request import Limits


class TimedProtocol(H11Protocol):
    """HTTP connection that is closed without an answer if the client is silent.

    A client has `limits.silence` seconds to send a complete header, from the connection's start or from the end of an answer. The
    same limit holds for reading some of an answer that does not fit into the buffers. `RequestMiddleware` limits uploads.

    With more than `limits.connections` connections, the one that has waited longest for its client is closed. So clients that send
    their header at once are served even while others hold all connections open.
    """

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._reading = True  # the client reads what is sent to it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_client()
        if len(self.connections) > self._limits.connections:
            open_ones = [one for one in self.connections if isinstance(one, TimedProtocol)]
            min(open_ones, key=TimedProtocol._expires).close_at_once()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        self._stop_waiting()  # the limit for the next request starts here
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = False
        self._stop_waiting()
        self._update()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reading = True
        self._stop_waiting()
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def close_at_once(self) -> None:
        """Close the connection without sending what is still in its buffer, as the client may never read it."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _update(self) -> None:
        """Start or stop the time limit: the server waits for the client, or the client for the server."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._reading:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait_for_client()

    def _wait_for_client(self) -> None:
        self._deadline = self.loop.call_later(self._limits.silence, self.close_at_once)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expires(self) -> float:
        """The event loop's time at which the connection is closed; infinite while the client waits for its answer."""
        return self._deadline.when() if self._deadline else float("inf")
