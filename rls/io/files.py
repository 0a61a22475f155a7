"""Write files whole or not at all; name a file by its content."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rls.errors import InputError

DIGEST_BYTES = 16
_UMASK = os.umask(0o022)
os.umask(_UMASK)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; flush it to disk and rename it on success.

    On any error the temporary file is removed and ``path`` is left as it was.

    Raises:
        InputError: The disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: some writers choose their format by it.
    temporary = path.with_name(f".tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.chmod(
            temporary, 0o666 & ~_UMASK
        )  # Some writers leave files that only their owner reads.
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"The disk is full while writing {path}; nothing was changed there. "
                f"Free space and run the same command again."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_digest(path: Path | str) -> str:
    """Return the blake2b digest of a file's bytes, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def need_file(path: Path | str, what: str) -> Path:
    """Return ``path`` if it is a file, else raise :class:`InputError` naming ``what``."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The {what} {path} does not exist. Run the stage that writes it first.")
    return path
