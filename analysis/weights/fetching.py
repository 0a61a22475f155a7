"""Fetch the source distribution that holds the weights of LPIPS, unless they are here already."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from analysis.plates.download import MB, Announce, clear, download, one_writer
from analysis.plates.fetch_settings import Settings
from analysis.weights.index import configured_index, find_file
from analysis.weights.lpips_archive import ARCHIVE, PACKAGE, SHA256, convert_archive
from rls.io.files import file_sha256
from rls.networks.lpips import LAYERS
from rls.networks.weights_settings import fetched_file, weights_folder
from rls.runtime.errors import InputError


def are_here(sha256: str) -> bool:
    """Return whether both files are there and say that they were made from this archive."""
    for net in LAYERS:
        try:
            with safe_open(fetched_file(net), framework="np") as handle:
                header = json.loads((handle.metadata() or {})["header"])
        except (SafetensorError, OSError, KeyError, ValueError):
            return False
        if header.get("source_sha256") != sha256 or header.get("net") != net:
            return False
    return True


def fetch_lpips(
    index: str | None, archive: Path | None, settings: Settings, sha256: str = SHA256
) -> list[Path]:
    """Return the files of AlexNet and VGG16, which are made unless they are here.

    Arguments:
        index: Address of the simple index; None for the one that pip is configured for.
        archive: The source distribution, where the user has it already; None fetches it.
        sha256: The SHA-256 that it must have.

    Raises:
        InputError: It cannot be had, or is another file; what has arrived of a download that
            broke off is kept, and the same call resumes it.
    """
    if are_here(sha256):
        print("fetch_weights: both files are here already, nothing to do", flush=True)
        return [fetched_file(net) for net in LAYERS]
    folder = weights_folder()
    if archive is not None:
        check_archive(archive, sha256)
        return convert_archive(archive, sha256)
    with one_writer(folder / "download"):
        url = find_file(index or configured_index(), PACKAGE, ARCHIVE, sha256, settings.timeout_s)
        path = download(url, folder / "download", settings, _announce(url), "fetch_weights")
        try:
            check_archive(path, sha256)
        except InputError:
            clear(folder / "download")
            raise
        files = convert_archive(path, sha256)
        clear(folder / "download")
        return files


def check_archive(path: Path, sha256: str) -> None:
    """Raise InputError unless the file exists and has this SHA-256."""
    found = file_sha256(path) if path.is_file() else "no file"
    if found != sha256:
        raise InputError(
            f"Found {found} at {path}, expected {ARCHIVE} with the SHA-256 {sha256}. Nothing of it "
            "was read. Fetch it again."
        )


def _announce(url: str) -> Announce:
    def announce(total: int | None, have: int) -> None:
        size = f"{total / MB:.1f} MB" if total else "unknown length"
        print(f"fetch_weights: {url}, {size}, {have / MB:.1f} MB of it here", flush=True)

    return announce
