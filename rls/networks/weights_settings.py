"""Settings of the section ``weights``: networks of other people, which the program does not bring.

A path is ``auto``, none, or a file. ``auto`` stands for the file that ``make weights`` left in the
user's cache, and for none where there is no such file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rls.io.files import file_sha256
from rls.runtime.command import option
from rls.runtime.errors import InputError

AUTO = "auto"
FOLDER = "RLS_WEIGHTS"  # environment variable that names another folder than the user's cache
NETS = ("inception", "vgg16", "alexnet")
SMALLEST = 64  # px; smaller images are enlarged for VGG16 and AlexNet, see rls/networks/lpips.py


@dataclass(frozen=True, kw_only=True)
class Vgg16Settings:
    """Where the weights of VGG16 lie. No result depends on the path; all do on the SHA-256."""

    SECTION = "weights"

    vgg16_path: str | None = option(
        "VGG16 with the heads of LPIPS: auto (what make weights fetched, else none), none, or a "
        "file: safetensors of make weights, or TorchScript (vgg16.pt of StyleGAN2-ADA).",
        default=None,
    )
    vgg16_sha256: str | None = option("SHA-256 of the file of VGG16.", default=None)


@dataclass(frozen=True, kw_only=True)
class WeightsSettings(Vgg16Settings):
    """Where the weights of all networks lie."""

    SECTION = "weights"

    alexnet_path: str | None = option(
        "AlexNet with the heads of LPIPS: auto, none, or safetensors of make weights.", default=None
    )
    alexnet_sha256: str | None = option("SHA-256 of the file of AlexNet.", default=None)
    inception_path: str | None = option(
        "TorchScript file of Inception, for FID and KID (inception-2015-12-05.pt of "
        "StyleGAN2-ADA); or none.",
        default=None,
    )
    inception_sha256: str | None = option("SHA-256 of the file of Inception.", default=None)


def weights_folder() -> Path:
    """Return the folder of fetched weights: ``RLS_WEIGHTS``, or one in the user's cache."""
    if folder := os.environ.get(FOLDER):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "rls-super-resolution"


def fetched_file(net: str) -> Path:
    """Return the path at which ``make weights`` leaves the weights of a network."""
    return weights_folder() / f"{net}.safetensors"


def located(net: str, path: str | None, sha256: str | None) -> tuple[Path, str] | None:
    """Return the file of a network and its SHA-256, None where no weights are used.

    Raises:
        InputError: A path is given without its SHA-256, or a SHA-256 without its path.
    """
    if path == AUTO:
        file = fetched_file(net)
        return (file, sha256 or file_sha256(file)) if file.is_file() else None
    if (path is None) != (sha256 is None):
        found, missing = ("path", "sha256") if path else ("sha256", "path")
        raise InputError(
            f"Found {net}_{found} without {net}_{missing}, expected both or neither: a file of "
            f"weights is used only by its SHA-256. Give {net}_{missing} too."
        )
    return None if path is None or sha256 is None else (Path(path), sha256.lower())


def as_text(digests: Mapping[str, str]) -> str:
    """Return networks and the first digits of their SHA-256 as one text; '' without networks."""
    return " ".join(f"{net}:{digests[net][:16]}" for net in sorted(digests))
