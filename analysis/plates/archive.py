"""Check the zip archive of a plate, and unpack the images that are needed."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from rls.io import atomic_path
from rls.runtime.errors import InputError

BLOCK_BYTES = 1 << 20


class ArchiveFault(InputError):
    """The archive itself is wrong, so its download cannot be used."""


def unpack(
    archive: Path,
    names: Sequence[str],
    folder: Path,
    *,
    test_all: bool,
    before: Callable[[int], None],
    advance: Callable[[int], None] = lambda n: None,
) -> None:
    """Write the members ``names`` into ``folder``, wherever they lie in the archive.

    Arguments:
        test_all: Also read the other members to the end, so that their checksums are tested.
        before: Called with the unpacked size in bytes before the first member is written.
        advance: Called with 1 after each member.

    Raises:
        ArchiveFault: The file is no zip archive, is cut off or damaged, lacks a member, has one
            twice with different content, or is packed in a way that cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = find_members(file, names, archive)
            before(sum(member.file_size for member in members.values()))
            for name, member in members.items():
                with (
                    file.open(member) as source,
                    atomic_path(folder / name) as temporary,
                    open(temporary, "wb") as target,
                ):
                    shutil.copyfileobj(source, target, BLOCK_BYTES)
                advance(1)
            wanted = {member.filename for member in members.values()}
            rest = [m for m in file.infolist() if m.filename not in wanted and not m.is_dir()]
            for member in rest if test_all else ():
                with file.open(member) as source:
                    while source.read(BLOCK_BYTES):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        with open(archive, "rb") as handle:  # A web page may be a login or an error.
            is_page = handle.read(64).lstrip().startswith(b"<")
        raise ArchiveFault(
            f"The archive {archive.name} is cut off or damaged: {error}"
            f"{'; it begins like a web page' if is_page else ''}. Fetch it again."
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise ArchiveFault(
            f"The archive {archive.name} is encrypted or packed in a way that is not read "
            f"({error}). Pack it as a plain zip."
        ) from error


def find_members(
    file: zipfile.ZipFile, names: Sequence[str], archive: Path
) -> dict[str, zipfile.ZipInfo]:
    """Return the member of each name, whatever folder it lies in.

    Raises:
        ArchiveFault: A member is missing, or is there twice with different content.
    """
    found: dict[str, list[zipfile.ZipInfo]] = {}
    for member in file.infolist():
        if not member.is_dir():
            base = PurePosixPath(member.filename.replace("\\", "/")).name
            found.setdefault(base, []).append(member)
    lacking = [name for name in names if name not in found]
    if lacking:
        raise ArchiveFault(
            f"Found {len(lacking)} of {len(names)} images missing in {archive.name}, first "
            f"{lacking[0]}; it holds {len(found)} files such as "
            f"{', '.join(sorted(found)[:3]) or 'none'}. Check that archive and metadata are of the "
            "same plate."
        )
    for name in names:
        if len({(member.CRC, member.file_size) for member in found[name]}) > 1:
            places = ", ".join(member.filename for member in found[name][:3])
            raise ArchiveFault(
                f"Found {name} more than once in {archive.name} with different content ({places}), "
                "expected it once. Remove the wrong one."
            )
    return {name: found[name][0] for name in names}
