"""Write files whole or not at all, and name a file by its content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rls.runtime.errors import InputError

DIGEST_BYTES = 16
LONGEST_NAME = 255  # bytes, on Linux
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def full_disk(error: BaseException) -> bool:
    """Return whether an error means that no more can be written: no space, a quota, a size limit.

    Some libraries pass the system's error number on only as text, and numpy not at all.
    """
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    text = str(error)
    short = isinstance(error, OSError) and re.search(r"\d+ requested and \d+ written", text)
    return bool(short) or any(
        f"os error {number})" in text or os.strerror(number) in text for number in numbers
    )


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; flush it to disk and rename it on success.

    On any error the temporary file is removed and ``path`` is left as it was.

    Raises:
        InputError: The disk is full.
    """
    path = Path(path)
    # The temporary name keeps the suffix, because some writers choose their format by it.
    before = f".tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}-"
    temporary = path.with_name(before + name_end(path.name, LONGEST_NAME - len(before)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        # Some writers leave files that only their owner may read.
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except Exception as error:  # Some writers wrap the system's error in one of theirs.
        if not isinstance(error, InputError) and full_disk(error):
            raise InputError(
                f"The disk is full while writing {path}; nothing was changed there. "
                f"Free space and run the same command again."
            ) from error
        raise
    finally:
        with suppress(OSError):  # The rename has moved it, or its folder could not be made.
            temporary.unlink()


def name_end(name: str, most: int) -> str:
    """Return as many of the last characters of a file's name as ``most`` bytes hold."""
    while len(os.fsencode(name)) > most:
        name = name[1:]
    return name


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_digest(path: Path | str) -> str:
    """Return the blake2b digest of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(
            handle, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)
        ).hexdigest()


def json_digest(content: Mapping[str, object]) -> str:
    """Return the blake2b digest of ``content`` as JSON, 32 hexadecimal digits.

    Writing ``content`` as JSON and reading it again does not change it.
    """
    # The round trip turns every key into text, which decides the order of the keys.
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def need_file(path: Path | str, what: str) -> Path:
    """Return ``path`` if it is a file.

    Raises:
        InputError: There is no such file; the sentence calls it ``what``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The {what} {path} does not exist. Run the stage that writes it first.")
    return path
