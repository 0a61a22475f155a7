"""Download one file over HTTP: resume where it stopped, and print the reason of every wait.

The bytes that have arrived lie as ``download.part`` in a folder of its own, with ``download.json``
beside it (address, length, and ETag or date of the file on the server). A later attempt asks for
the rest with Range and If-Range (RFC 9110, 13.1.5 and 14.2); if the file has changed since, the
download starts afresh.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, NoReturn, TypedDict

from analysis.plates.fetch_settings import Settings
from rls.io import write_text
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds

PART, FACTS, LOCK = "download.part", "download.json", "lock"
BLOCK_BYTES = 1 << 18
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
MB = 1_000_000


class Facts(TypedDict):
    """Facts of the file on the server whose first bytes have arrived.

    Attributes:
        url: Its address.
        etag: Its ETag, if the server gives one.
        date: Its Last-Modified, if the server gives one.
        total: Its length in bytes, if it is known.
    """

    url: str
    etag: str | None
    date: str | None
    total: int | None


class Interrupted(Exception):
    """A failure that another attempt may mend; the server asks for a pause of ``after_s``."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


# Called with (bytes of the whole file or None, bytes that have arrived) before each transfer.
Announce = Callable[[int | None, int], None]


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold ``folder`` while the block runs; the kernel releases the lock of a killed process.

    Raises:
        InputError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"Another process is already working on {folder}. Wait for it, or stop it and run "
                "the same command again."
            ) from None
        yield


def download(
    url: str, folder: Path, settings: Settings, announce: Announce, label: str = "download"
) -> Path:
    """Download ``url`` completely into ``folder``, and return the path of the file.

    The caller holds :func:`one_writer`, and calls :func:`clear` when the file has been used or
    found wrong. A file that has already arrived in its full length is not asked for again.

    Raises:
        InputError: The server has no such file, refuses it, or stays silent for all attempts; or
            the disk is full. The bytes that have arrived are kept, and the same call resumes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / PART
    most, failures = size_of(part), 0
    while True:
        try:
            _attempt(url, folder, settings, announce, label)
            return part
        except Interrupted as fault:
            here = size_of(part)
            failures = 0 if here > most else failures + 1
            most = max(most, here)
            if failures >= settings.attempts:
                raise InputError(
                    f"Found no new byte of {url} in {failures} attempts ({fault}). What has "
                    f"arrived ({here / MB:.1f} MB) is kept in {folder}: check the connection, and "
                    "run the same command again."
                ) from fault
            pause = settings.first_pause_s * 2.0 ** max(failures - 1, 0)
            pause = min(max(pause, fault.after_s), settings.longest_pause_s)
            print(
                f"{label}: {fault}; {here / MB:.1f} MB are here, trying again in "
                f"{format_seconds(pause)}",
                flush=True,
            )
            time.sleep(pause)


def clear(folder: Path) -> None:
    """Remove the files of a download in ``folder``."""
    for name in (PART, FACTS):
        (folder / name).unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def read_checksums(path: Path) -> dict[str, str]:
    """Return {file name: SHA-256} of a file as ``sha256sum`` writes it.

    Raises:
        InputError: The file is missing, or a line has not the form of a checksum and a name.
    """
    if not path.is_file():
        raise InputError(f"The file of checksums {path} does not exist. Correct its path.")
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(?:.*/)?([^/]+?)\s*", line)
        if match is None:
            raise InputError(
                f"Found '{line[:60]}' in line {number} of {path}, expected a SHA-256 of 64 digits "
                "and a file name, as sha256sum prints them. Correct the line."
            )
        sums[match.group(2)] = match.group(1).lower()
    return sums


def _attempt(url: str, folder: Path, settings: Settings, announce: Announce, label: str) -> None:
    """Ask once for the missing bytes.

    Raises:
        Interrupted: Bytes are still missing, and another attempt may bring them.
        InputError: Another attempt would be useless.
    """
    facts = _read_facts(folder, url)
    have = size_of(folder / PART) if facts else 0
    if facts and have and have == facts["total"]:
        return
    headers = {"User-Agent": "rls-super-resolution", "Accept-Encoding": "identity"}
    validator = _validator(facts) if facts else None
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    else:
        have = 0
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=settings.timeout_s) as response:
            _receive(response, url, folder, facts, have, announce, label)
    except urllib.error.HTTPError as error:
        _judge_status(error, url, folder)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError.
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise InputError(
                f"The certificate of {url} cannot be trusted ({cause.verify_message}). Install the "
                "certificates of your network, or give the address of a mirror."
            ) from error
        text = str(cause).strip() or type(cause).__name__
        raise Interrupted(f"the connection failed ({text})") from error


def _judge_status(error: urllib.error.HTTPError, url: str, folder: Path) -> NoReturn:
    """Raise the error for an HTTP status that brings no file.

    Raises:
        Interrupted: Another attempt may succeed.
        InputError: It would not.
    """
    if error.code == 416:
        clear(folder)
        raise Interrupted("the server's file is another one now, starting afresh") from error
    if error.code in RETRIED_STATUS:
        wait = (error.headers.get("Retry-After") or "").strip()
        raise Interrupted(
            f"the server answered {error.code} {error.reason}",
            float(wait) if wait.isdigit() else 0.0,
        ) from error
    raise InputError(
        f"The server answered {error.code} {error.reason} for {url}. Correct the plate's name or "
        "the address; nothing was fetched."
    ) from error


def _receive(
    response: http.client.HTTPResponse,
    url: str,
    folder: Path,
    before: Facts | None,
    have: int,
    announce: Announce,
    label: str,
) -> None:
    """Append the bytes from the server to the part, after writing the facts of their file.

    Arguments:
        before: Facts of the file whose first ``have`` bytes have arrived.

    Raises:
        Interrupted: Bytes are missing, or the file on the server has changed.
        InputError: The disk is full.
    """
    length = response.headers.get("Content-Length", "")
    facts: Facts = {
        "url": url,
        "etag": response.headers.get("ETag"),
        "date": response.headers.get("Last-Modified"),
        "total": int(length) if length.isdigit() else None,
    }
    if response.status == 206:
        start, facts["total"] = _content_range(response)
        same = (
            before is not None
            and facts["etag"] in (None, before["etag"])
            and facts["total"] in (None, before["total"])
        )
        if start != have or not same:
            clear(folder)
            raise Interrupted("the file on the server has changed, starting afresh")
    else:
        if have:
            same = before is not None and _validator(facts) == _validator(before)
            reason = "the server cannot resume" if same else "the file on the server has changed"
            print(f"{label}: {reason}, starting afresh", flush=True)
        have = 0
        clear(folder)
    announce(facts["total"], have)
    if not have:
        write_text(folder / FACTS, json.dumps(facts) + "\n")
    total = facts["total"]
    bar = Progress(total // MB, label, "MB", have // MB) if total and total > MB else None
    with bar or nullcontext(), open(folder / PART, "ab", buffering=0) as file:
        here = have
        while block := response.read1(BLOCK_BYTES):
            _append(file, block, folder)
            if bar is not None:
                bar.advance((here + len(block)) // MB - here // MB)
            here += len(block)
        if total is not None and here < total:
            raise Interrupted(f"the connection was cut after {here} of {total} bytes")
    if total is not None and here > total:
        clear(folder)
        raise Interrupted(f"the server sent more than the {total} bytes it named")
    write_text(folder / FACTS, json.dumps({**facts, "total": here}) + "\n")


def _append(file: BinaryIO, block: bytes, folder: Path) -> None:
    """Write the whole block, or raise :class:`InputError` if the disk is full or fails."""
    try:
        view = memoryview(block)
        while len(view):
            view = view[file.write(view) :]
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise InputError(
            f"{'The disk is full' if full else f'Writing failed ({error})'} in {folder}; what has "
            "arrived is kept. Free space and run the same command again."
        ) from error


def _read_facts(folder: Path, url: str) -> Facts | None:
    """Return the facts of the part, None where they are missing or of another address."""
    try:
        facts: Facts = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError):
        return None
    return facts if facts.get("url") == url else None


def _validator(facts: Facts) -> str | None:
    """Return a value for If-Range: a strong ETag, else the date; None: no resuming."""
    etag = facts["etag"]
    return etag if etag and not etag.startswith("W/") else facts["date"]


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return (first byte, bytes of the whole file or None) of a partial answer."""
    match = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if match is None:
        return -1, None
    return int(match.group(1)), int(match.group(2)) if match.group(2).isdigit() else None
