"""Downloads that resume after interruptions, retry, check the size, and leave a complete file or none.

An unfinished download is `<name>.part` beside its target, with `<name>.part.json`, which identifies the host's file. The next call
requests the rest (HTTP Range) if the host still has the same file (If-Range); otherwise it starts over.
"""

import json
import logging
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3

from actionrec.core import file_lock
from actionrec.core.errors import DataError
from actionrec.core.progress import progress

logger = logging.getLogger(__name__)

ATTEMPTS = 6  # attempts in a row without new bytes
FIRST_PAUSE_SECONDS = 1.0  # doubled after each such attempt
LONGEST_PAUSE_SECONDS = 60.0
CONNECT_SECONDS, READ_SECONDS = 30.0, 60.0  # time-outs
MEGABYTE = 1_000_000

_CHUNK = 1 << 18
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}


class DownloadError(DataError):
    """A file cannot be downloaded."""


class _RetryError(Exception):
    """A failure after which another attempt may succeed."""

    def __init__(self, why: str, pause_seconds: float = 0) -> None:
        super().__init__(why)
        self.pause_seconds = pause_seconds


class _StartOverError(_RetryError):
    """The bytes so far do not belong to the file that the host has."""


@dataclass(frozen=True)
class _Remote:
    """Identity of a file on its host."""

    url: str
    validator: str | None  # strong ETag, else Last-Modified
    bytes: int | None

    def may_be(self, other: "_Remote") -> bool:
        """Whether both may be the same file: no known value differs."""
        pairs = ((self.validator, other.validator), (self.bytes, other.bytes))
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


def download(url: str, target: Path, *, factor: float = 1.0) -> None:
    """Download `url` to `target`; resume an interrupted download. An existing target is kept.

    The usual environment variables set proxies and certificates (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`).

    Args:
        factor: required disk space in multiples of the file's size; more than 1 if it will be unpacked.

    Raises:
        DownloadError: the host cannot be reached or denies access, its certificate cannot be verified, it keeps closing the
            connection, or the disk is too small. The bytes so far are kept.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(part) as stream:
        if target.is_file():  # another process has just completed it
            return
        failures, most_bytes = 0, part.stat().st_size
        while True:
            try:
                _get_rest(url, part, stream, factor)
                break
            except _RetryError as reason:
                if isinstance(reason, _StartOverError):
                    stream.truncate(0)
                kept = part.stat().st_size
                failures = 0 if kept > most_bytes else failures + 1
                most_bytes = max(most_bytes, kept)
                if failures >= ATTEMPTS:
                    resume = f" Rerun to resume: {kept:,} bytes are kept in {part}." if kept else ""
                    raise DownloadError(
                        f"{url} cannot be downloaded: {reason}. {ATTEMPTS} attempts in a row brought no new bytes.{resume}"
                    ) from None
                pause = max(reason.pause_seconds, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**failures))
                logger.warning("%s: %s; next attempt in %.0f s", target.name, reason, pause)
                time.sleep(pause)
        stream.flush()
        os.fsync(stream.fileno())
        part.replace(target)
        _note(part).unlink(missing_ok=True)


def require_connection(url: str, seconds: float) -> None:
    """Raise a DownloadError if the host of `url`, or its proxy, does not accept a connection in time.

    A separate thread connects, since looking up the host's name has no time-out.
    """
    via = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or url
    address = urllib3.util.parse_url(via)
    port = address.port or (443 if address.scheme == "https" else 80)
    reasons: list[str] = [f"no answer from {address.host} within {seconds:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((str(address.host).strip("[]"), port), seconds).close()
            reasons.clear()
        except OSError as error:
            reasons[:] = [f"{address.host}: {error.strerror or error}"]

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(seconds)
    for reason in reasons[:1]:
        raise DownloadError(f"{url} cannot be downloaded: no connection ({reason}).")


def require_space(folder: Path, required_bytes: int, purpose: str) -> None:
    """Raise a DownloadError if the file system of `folder`, or of its first existing parent, has too little free space."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < required_bytes:
        raise DownloadError(
            f"{purpose} takes {required_bytes / 1e9:.1f} GB, but {existing} has {free / 1e9:.1f} GB free. Free some space, or move "
            "the project to a larger disk."
        )


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open the unfinished file and hold its lock; wait while another process downloads it."""
    with file_lock.held(part, f"another process that downloads {part.name.removesuffix('.part')}"), part.open("ab") as stream:
        try:
            yield stream
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()
                _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path, url: str) -> _Remote | None:
    """Identity of the unfinished file, from when it was started; None if unknown, or of another address."""
    try:
        remote = _Remote(**json.loads(_note(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return remote if remote.url == url else None


def _get_rest(url: str, part: Path, stream: BinaryIO, factor: float) -> None:
    """Request the missing bytes, and append them.

    Raises:
        DownloadError: another attempt would fail too.
        _RetryError: another attempt may succeed.
    """
    have, known = part.stat().st_size, _known(part, url)
    if have and (known is None or (known.validator is None and known.bytes is None)):
        have = 0  # the rest might be of another file
    elif have and known is not None and have == known.bytes:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "actionrec"}
    if have and known is not None:
        headers |= {"Range": f"bytes={have}-", **({"If-Range": known.validator} if known.validator else {})}
    with _response(url, headers) as response:
        remote = _Remote(url, _validator(response), _total(response))
        is_rest = response.status_code == requests.codes.partial_content
        if is_rest and (_start(response) != have or (known is not None and not known.may_be(remote))):
            raise _StartOverError("the host sent other bytes than requested; starting over")
        if not is_rest:
            stream.truncate(0)
            have = 0
        _note(part).write_text(json.dumps(asdict(remote)), encoding="utf-8")
        if remote.bytes is not None:
            name = part.name.removesuffix(".part")
            purpose = f"the rest of {name}" + (", with its unpacked contents," if factor > 1 else "")
            require_space(part.parent, int(factor * remote.bytes) - have, purpose)
        have = _append(response, stream, have, remote.bytes, part.name.removesuffix(".part"))
    if remote.bytes is not None and have != remote.bytes:
        kind = _StartOverError if have > remote.bytes else _RetryError
        raise kind(f"got {have:,} of {remote.bytes:,} bytes")


def _append(response: requests.Response, stream: BinaryIO, have: int, total: int | None, name: str) -> int:
    """Append the body of a response to the unfinished file; return the file's new size."""
    counted = have // MEGABYTE
    with progress(f"Downloading {name}", None if total is None else total // MEGABYTE, "MB", done=counted) as advance:
        try:
            # Not iter_content: it loses the bytes of a chunk that is cut off.
            while chunk := response.raw.read1(_CHUNK):
                stream.write(chunk)
                have += len(chunk)
                advance(have // MEGABYTE - counted)
                counted = have // MEGABYTE
        except urllib3.exceptions.HTTPError as error:
            raise _RetryError(f"the connection was lost after {have:,} bytes ({_reason(error)})") from None
        finally:
            stream.flush()
    return have


@contextmanager
def _response(url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """Yield a response with status 200 or 206."""
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS))
    except requests.exceptions.SSLError as error:
        if not isinstance(_innermost(error), ssl.SSLCertVerificationError):
            raise _RetryError(f"no secure connection ({_reason(error)})") from None
        raise DownloadError(
            f"{url} cannot be downloaded: the host's certificate cannot be verified ({_reason(error)}). Often the host does not "
            "send an intermediate certificate: add that one to a PEM file with the usual ones, and set REQUESTS_CA_BUNDLE to it. "
            "Or download the file in another way."
        ) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _RetryError(f"no connection ({_reason(error)})") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:  # invalid address, endless redirections
        raise DownloadError(f"{url} cannot be downloaded ({_reason(error)}). Correct the address.") from None
    except OSError as error:
        raise DownloadError(
            f"{url} cannot be downloaded ({error}). If REQUESTS_CA_BUNDLE is set, check that its file exists."
        ) from None
    with response:
        status = response.status_code
        if status == requests.codes.requested_range_not_satisfiable:
            raise _StartOverError("the host's file has fewer bytes than are already here; starting over")
        if status in _RETRIED_STATUS:
            retry_after = response.headers.get("Retry-After", "")
            pause = min(float(retry_after), LONGEST_PAUSE_SECONDS) if retry_after.isdecimal() else 0.0
            raise _RetryError(f"the host answered {status} {response.reason}", pause)
        if status not in (requests.codes.ok, requests.codes.partial_content):
            raise DownloadError(f"{url} cannot be downloaded: the host answered {status} {response.reason}.")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(
                f"{url} cannot be downloaded: the host sent a web page, perhaps a login page. Download it in a browser."
            )
        yield response


def _innermost(error: Exception) -> Exception:
    """The original error inside an error of requests, which wraps one of urllib3, which wraps one of the system."""
    while True:
        deeper = getattr(error, "reason", None)
        if not isinstance(deeper, Exception):
            deeper = next((part for part in error.args if isinstance(part, Exception)), None)
        if deeper is None:
            return error
        error = deeper


def _reason(error: Exception) -> str:
    inner = _innermost(error)
    return str(inner).split("\n", 1)[0][:200] or type(inner).__name__


def _validator(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _start(response: requests.Response) -> int | None:
    """First byte of a part, from `Content-Range: bytes 100-199/200`."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None


def _total(response: requests.Response) -> int | None:
    """Length of the whole file; None if the host does not send it."""
    if response.status_code == requests.codes.partial_content:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None
