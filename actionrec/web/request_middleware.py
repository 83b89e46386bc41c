"""What stands before every request: whom it is addressed to, whether there is room, and headers that protect the page."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionrec.web.fair_queue import FairQueue
from actionrec.web.predict_request import Limits, RequestError

logger = logging.getLogger(__name__)

DEFECT = "the server has a defect; its log says more."

_FIELDS = 10_000  # bytes of a form beside its file


class RequestMiddleware:
    """ASGI middleware. Uploads are turned away before they are read, not after."""

    def __init__(self, app: ASGIApp, *, turns: FairQueue, limits: Limits, hosts: Sequence[str], framed_by: str) -> None:
        self._app, self._turns, self._limits, self._hosts = app, turns, limits, hosts
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
        begun = False

        async def protected(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        try:
            sent = Headers(scope=scope)
            self._check_host(sent.get("host", ""))
            if scope["method"] == "POST":
                self._check_upload(sent)
                with ExitStack() as places:
                    await self._app(scope, self._watched(receive, places), protected)
            else:
                await self._app(scope, receive, protected)
        except RequestError as error:
            await _refuse(error, protected)
        except Exception:
            if begun:
                raise  # the server breaks the answer off, and logs it
            logger.exception("a request failed")
            await _refuse(RequestError(500, DEFECT), protected)

    def _check_upload(self, sent: Headers) -> None:
        if sent.get("sec-fetch-site") == "cross-site":
            raise RequestError(403, "this request comes from a page elsewhere, for which this server does not work.")
        if (length := sent.get("content-length", "")).isdecimal() and int(length) > self._most:
            raise self._limits.too_large()
        if self._turns.full:
            raise self._limits.too_busy()
        if self._sending >= self._limits.sending:
            raise self._limits.too_many_uploads()

    @property
    def _most(self) -> int:
        return self._limits.bytes + _FIELDS

    @contextmanager
    def _uploading(self) -> Iterator[None]:
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1

    def _watched(self, receive: Receive, places: ExitStack) -> Receive:
        """Break off an upload that is too slow, or larger than it said or did not say, or whose server ends.

        Args:
            places: keeps a place among the uploads, and once all is here, one among those who wait for the work.
        """
        places.enter_context(self._uploading())
        received, whole, start = 0, False, time.monotonic()

        async def watched() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            late = self._limits.silence + received / self._limits.bytes_per_second - (time.monotonic() - start)
            try:
                message = await self._turns.unless_ended(receive(), max(0.0, min(self._limits.silence, late)))
            except TimeoutError:
                raise self._limits.too_slow() from None
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._limits.too_large()
            if not message.get("more_body", False):
                whole = True
                places.pop_all().close()
                places.enter_context(self._turns.present())
            return message

        return watched

    def _check_host(self, host: str) -> None:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if "*" not in self._hosts and name.lower() not in self._hosts:
            raise RequestError(400, f"this server is not {name}; it answers to {', '.join(self._hosts)}.")


async def _refuse(error: RequestError, send: Send) -> None:
    body = json.dumps({"error": str(error)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
