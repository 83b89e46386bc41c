"""Runs the web server until Ctrl-C."""

import ipaddress
import logging
import socket
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from actionrec.core.errors import DataError
from actionrec.web.app import create_app
from actionrec.web.fair_queue import FairQueue
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits
from actionrec.web.samples import Sample

logger = logging.getLogger(__name__)

LOCAL = ("localhost", "127.0.0.1", "[::1]")
_SECONDS_TO_END = 3  # that requests have when the server ends
_MOST_PORT = 65535


class Server(uvicorn.Server):
    """Tells those who wait that it ends, rather than let them wait until it breaks off."""

    def __init__(self, config: uvicorn.Config, turns: FairQueue) -> None:
        super().__init__(config)
        self._turns = turns

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._turns.end()
        await super().shutdown(sockets)


def serve(
    folders: Sequence[Path],
    samples: Sequence[Sample],
    *,
    host: str,
    port: int,
    limits: Limits,
    framed_by: str = "'self'",
    show: bool = False,
) -> None:
    """Serve models; the first one is loaded before anybody is let in.

    Args:
        folders: of bundles.
        host: an address of this machine; only this machine's own programs reach 127.0.0.1.
        show: open the page in a browser.

    Raises:
        DataError: the port is in use, or no such host.
        RequestError: no model can be served.
    """
    shelf = ModelRegistry(folders)
    with listen(host, port) as door:
        shelf.prepare()
        address, number = door.getsockname()[:2]
        hosts = {*LOCAL, _in_url(host).lower()} if ipaddress.ip_address(address).is_loopback else {"*"}
        app = create_app(shelf, samples, limits, hosts=sorted(hosts), framed_by=framed_by)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, access_log=False, timeout_graceful_shutdown=_SECONDS_TO_END
        )
        page = f"http://{_in_url(host)}:{number}"
        logger.info("%s shows the page; Ctrl-C ends it", page)
        if show:
            webbrowser.open(page)  # which waits, as the port is open, until the server takes it
        with suppress(KeyboardInterrupt):  # the usual end
            Server(config, app.state.turns).run(sockets=[door])


def port_of(text: str, name: str) -> int:
    """Read a port's number.

    Args:
        name: of the setting that has it.

    Raises:
        DataError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_PORT)) and int(text) <= _MOST_PORT):
        raise DataError(f"{name} must be a whole number from 0 to {_MOST_PORT}; got {text!r}.")
    return int(text)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """Open a port; 0 takes any that is free.

    Raises:
        DataError: it is in use, or not allowed, or no such host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):  # the latter of a name with an empty part, or a long one
        raise DataError(f"--host {host}: no such host. 127.0.0.1 is this machine alone, 0.0.0.0 all its networks.") from None
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(address)
        door.listen()
    except OSError as error:
        door.close()
        raise DataError(f"port {port} of {host} cannot be used ({error.strerror}). Choose another: --port.") from None
    return door
