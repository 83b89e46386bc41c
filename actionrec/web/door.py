"""What stands before every request: whom it is addressed to, whether there is room, and headers that protect the page."""

import json
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionrec.web.requests import Limits, RequestError
from actionrec.web.turns import Turns

_FIELDS = 10_000  # bytes of a form beside its file


class Door:
    """ASGI middleware. Uploads are turned away before they are read, not after."""

    def __init__(self, app: ASGIApp, *, turns: Turns, limits: Limits, hosts: Sequence[str], framed_by: str) -> None:
        self._app, self._turns, self._limits, self._hosts = app, turns, limits, hosts
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

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        try:
            sent = Headers(scope=scope)
            self._check_host(sent.get("host", ""))
            if scope["method"] == "POST":
                if (length := sent.get("content-length", "")).isdecimal() and int(length) > self._most:
                    raise self._limits.too_large()
                with self._turns.present():
                    await self._app(scope, self._counted(receive), protected)
            else:
                await self._app(scope, receive, protected)
        except RequestError as error:
            await _refuse(error, protected)

    @property
    def _most(self) -> int:
        return self._limits.bytes + _FIELDS

    def _counted(self, receive: Receive) -> Receive:
        """Break off an upload that is larger than it said, or did not say."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise HTTPException(413)  # FastAPI would take any other error for a form that is damaged
            return message

        return counted

    def _check_host(self, host: str) -> None:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if "*" not in self._hosts and name.lower() not in self._hosts:
            raise RequestError(400, f"this server is not {name}; it answers to {', '.join(self._hosts)}.")


async def _refuse(error: RequestError, send: Send) -> None:
    body = json.dumps({"error": str(error)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
