"""Digests of files that people read and edit (CSV, JSON), each in a hidden file beside the file."""

from __future__ import annotations

from pathlib import Path

from rls.io.files import atomic_path, file_digest, need_file, write_text
from rls.runtime.errors import InputError


def write_text_with_digest(path: Path | str, text: str, *, written_by: str) -> None:
    """Write ``text``, whole or not at all, and its digest beside it."""
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
        leave_digest(path, temporary, written_by)


def leave_digest(path: Path | str, temporary: Path, written_by: str, more: str = "") -> None:
    """Write the digest of ``temporary``, which is about to become ``path``.

    The digest is written first: after a crash between the two renames it never matches an old
    file.

    Arguments:
        more: A second line, which says more about the file.
    """
    text = f"{file_digest(temporary)} {written_by}\n"
    write_text(digest_path(path), text + (f"{more}\n" if more else ""))


def digest_path(path: Path | str) -> Path:
    """Return where :func:`leave_digest` puts the digest of ``path``."""
    path = Path(path)
    return path.with_name(f".{path.name}.digest")


def check_digest(path: Path | str, output: Path | None = None) -> str:
    """Check a file against the digest beside it; return the rule that wrote it, '' without one.

    Arguments:
        path: The file.
        output: The rule's output, where that is a folder that holds the file.

    Raises:
        InputError: The file is gone or is not the one that was written.
    """
    return checked_facts(path, output)[0]


def checked_facts(path: Path | str, output: Path | None = None) -> tuple[str, str]:
    """Return (rule, second line) of the digest beside a file, both '' without one.

    Arguments:
        path, output: See :func:`check_digest`.

    Raises:
        InputError: See :func:`check_digest`.
    """
    beside = digest_path(path)
    if not beside.is_file():
        return "", ""
    text = beside.read_text(encoding="utf-8", errors="replace")
    first, _, more = text.strip().partition("\n")
    digest, _, written_by = first.partition(" ")
    if file_digest(need_file(path, "file")) != digest:
        raise InputError(
            f"The file {path} is not the one that was written: it was damaged, or edited. "
            f"{rerun(output or path, written_by)} If you edited it, delete {beside} instead."
        )
    return written_by, more


def rerun(path: Path | str, written_by: str = "") -> str:
    """Return the sentence that says how to make ``path`` again."""
    rule = f"rule {written_by}" if written_by else "the rule that writes it"
    return f"Delete {path} and run the workflow again ({rule} makes it anew)."
