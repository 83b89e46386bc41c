"""Web server that runs until Ctrl-C."""

import ipaddress
import logging
import socket
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from actionrec.core.errors import DataError
from actionrec.web import collected_clips
from actionrec.web.app import create_app
from actionrec.web.client_timeouts import TimedProtocol
from actionrec.web.fair_queue import FairQueue
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits
from actionrec.web.samples import SampleClip

logger = logging.getLogger(__name__)

LOCAL = ("localhost", "127.0.0.1", "[::1]")
_SECONDS_TO_END = 3  # that requests get when the server stops
_MOST_PORT = 65535


class Server(uvicorn.Server):
    """Server that answers waiting requests with an error when it stops."""

    def __init__(self, app: FastAPI) -> None:
        """Take an application that `create_app` returned."""
        config = uvicorn.Config(
            app,
            http=partial(TimedProtocol, limits=app.state.limits),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            log_level="warning",
            server_header=False,
            access_log=False,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        super().__init__(config)
        self._queue: FairQueue = app.state.queue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._queue.end()
        await super().shutdown(sockets)


def serve(
    folders: Sequence[Path],
    samples: Sequence[SampleClip],
    *,
    host: str,
    port: int,
    limits: Limits,
    framed_by: str = "'self'",
    show: bool = False,
    collect: Path | None = None,
) -> None:
    """Serve models; the first one is loaded before the server accepts requests.

    Args:
        folders: of bundles.
        samples: clips that the page offers.
        host: an address of this machine; 127.0.0.1 accepts connections from this machine only.
        port: 0 takes a free one.
        limits: of uploads and videos.
        framed_by: which sites may show the page in a frame, as in Content-Security-Policy.
        show: whether to open the page in a browser.
        collect: folder of clips that visitors label and agree to save; None: none are saved.

    Raises:
        DataError: the port is in use, or there is no such host.
        ActionrecError: every model is damaged.
    """
    if collect is not None:
        collected_clips.require_folder(collect)
    registry = ModelRegistry(folders)
    with listen(host, port) as listener:
        registry.prepare()
        address, number = listener.getsockname()[:2]
        hosts = {*LOCAL, _in_url(host).lower()} if ipaddress.ip_address(address).is_loopback else {"*"}
        app = create_app(registry, samples, limits, hosts=sorted(hosts), framed_by=framed_by, collect=collect)
        page = f"http://{_in_url(host)}:{number}"
        logger.info("%s shows the page; Ctrl-C ends it", page)
        if show:
            webbrowser.open(page)  # it waits until the server answers, as the port is open
        with suppress(KeyboardInterrupt):  # Ctrl-C is the usual way to stop
            Server(app).run(sockets=[listener])


def port_of(text: str, name: str) -> int:
    """Read a port number.

    Args:
        text: the value.
        name: of the setting, for the message.

    Raises:
        DataError: it is not a port number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_PORT)) and int(text) <= _MOST_PORT):
        raise DataError(f"{name} must be a whole number from 0 to {_MOST_PORT}; got {text!r}.")
    return int(text)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """Open a port; 0 takes any that is free.

    Raises:
        DataError: it is in use or not permitted, or there is no such host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):  # UnicodeError: a part of the name is empty or too long
        raise DataError(f"--host {host}: no such host. Use 127.0.0.1 for this machine only, or 0.0.0.0 for all networks.") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise DataError(f"port {port} of {host} cannot be used ({error.strerror}). Choose another: --port.") from None
    return listener
