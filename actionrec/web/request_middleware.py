"""Middleware for every request: limits on uploads, errors as JSON, and headers that protect the page."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionrec.web.fair_queue import FairQueue
from actionrec.web.predict_request import Limits, RequestError

logger = logging.getLogger(__name__)

DEFECT = "the server failed unexpectedly. Try again later."
"""Answer to a request that failed because of a defect; the log has the traceback."""

_FIELDS = 10_000  # bytes: the most that a form may have beside its file


class RequestMiddleware:
    """ASGI middleware. Uploads are refused before they are read, not after."""

    def __init__(self, app: ASGIApp, *, queue: FairQueue, limits: Limits, framed_by: str) -> None:
        self._app, self._queue, self._limits = app, queue, limits
        self._sending = 0
        self._headers = {
            "content-security-policy": (
                "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
                f"form-action 'self'; frame-ancestors {framed_by}"
            ),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        without_body = scope["method"] == "HEAD"
        if without_body:  # answered like GET: FastAPI's routes do not take HEAD
            scope = {**scope, "method": "GET"}

        async def protected(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(self._headers)
            elif without_body and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            if scope["method"] == "POST":
                self._check_upload(Headers(scope=scope))
                with ExitStack() as places:
                    await self._app(scope, self._watched(receive, places), protected)
            else:
                await self._app(scope, receive, protected)
        except RequestError as error:
            await _refuse(error, protected)
        except Exception:
            if started:
                raise  # the server closes the connection and logs the error
            logger.exception("a request failed")
            await _refuse(RequestError(500, DEFECT), protected)

    def _check_upload(self, headers: Headers) -> None:
        if headers.get("sec-fetch-site") == "cross-site":
            raise RequestError(403, "this request comes from another site's page; this server answers its own pages only.")
        if (length := headers.get("content-length", "")).isdecimal() and int(length) > self._max_bytes:
            raise self._limits.too_large()
        if self._queue.full:
            raise self._limits.too_busy()
        if self._sending >= self._limits.sending:
            raise self._limits.too_many_uploads()

    @property
    def _max_bytes(self) -> int:
        return self._limits.bytes + _FIELDS

    @contextmanager
    def _uploading(self) -> Iterator[None]:
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1

    def _watched(self, receive: Receive, places: ExitStack) -> Receive:
        """Receive an upload; refuse it if it is too slow or too large, or if the server stops.

        Args:
            places: holds a place among the uploads and, when the upload is complete, one in the queue.
        """
        places.enter_context(self._uploading())
        received, complete, start = 0, False, time.monotonic()

        async def watched() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            time_left = self._limits.silence + received / self._limits.bytes_per_second - (time.monotonic() - start)
            try:
                message = await self._queue.unless_stopped(receive(), max(0.0, min(self._limits.silence, time_left)))
            except TimeoutError:
                raise self._limits.too_slow() from None
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._limits.too_large()
            if not message.get("more_body", False):
                complete = True
                places.pop_all().close()
                places.enter_context(self._queue.present())
            return message

        return watched


async def _refuse(error: RequestError, send: Send) -> None:
    answer = JSONResponse({"error": str(error)}, error.status_code, error.headers)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})
