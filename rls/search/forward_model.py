"""The choice of D, the forward operator of Eq. 1: how a low-resolution pixel sees the HR image.

    bicubic       Pillow's antialiased bicubic, the article's
    binning       the mean over the factor x factor pixels that a camera pixel covers
    psf_binning   a blur by a point spread function (PSF), then binning
    kernel        weights of the HR pixels around the centre of an LR pixel, from a file

One choice makes the LR images and is used in every search. It is written as JSON into the tables of
LR images and results and into model folders, so that a search can tell whether two choices are one.
A file of a PSF or kernel counts by its numbers, not by its path.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rls.io.names import BORDERS
from rls.runtime.command import convert, option
from rls.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

BICUBIC, BINNING, PSF_BINNING, KERNEL = "bicubic", "binning", "psf_binning", "kernel"
OPERATORS = (BICUBIC, BINNING, PSF_BINNING, KERNEL)
BLUR = "gaussian_blur"  # The linear step of a chain of degradations.
WEIGHTS = ("psf_sd_um", "psf_file", "kernel_file")  # The settings of a PSF or kernel.
TRUNCATE = 4.0  # A Gaussian PSF ends at so many sd, as in scipy.


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """Settings of D, which every command that makes or is given LR images shares."""

    operator: str = option(
        "D: bicubic (article), binning (camera), psf_binning (blur, then camera) or kernel.",
        choices=OPERATORS,
        default=BICUBIC,
    )
    border: str = option(
        "Rule of D at the border: renormalize (Pillow) or reflect (PULSE).",
        choices=BORDERS,
        default=BORDERS[0],
    )
    psf_sd_um: float = option(
        "Sd of a Gaussian PSF in um, the blur that LR has beyond HR; for psf_binning.",
        default=0.0,
        least=0,
    )
    psf_file: str | None = option(
        "TIFF of a measured PSF, sampled as HR, or none; for psf_binning.", default=None
    )
    kernel_file: str | None = option(
        "TIFF of the weights of HR pixels around the centre of an LR pixel, or none; for kernel.",
        default=None,
    )
    shift_px: tuple[float, ...] = option(
        "Shift of the cell in LR, in HR px, down and to the right (y, x); may be fractions.",
        default=(0.0, 0.0),
    )


@dataclass(frozen=True)
class ForwardModel:
    """One choice of D.

    Attributes:
        psf_sd_um: Sd of a Gaussian PSF in micrometres; 0 where there is none.
        digest: Of the normalised numbers of a PSF or kernel; '' where there is no file.
        shift_px: (y, x) in HR px; D sees the image moved towards larger indices.
        blur_sd_px: Sd in LR px of a Gaussian that follows D, as the chain's ``gaussian_blur``.
        file: Where the numbers lie; two choices that differ in it alone are equal.
    """

    operator: str = BICUBIC
    border: str = BORDERS[0]
    psf_sd_um: float = 0.0
    digest: str = ""
    shift_px: tuple[float, float] = (0.0, 0.0)
    blur_sd_px: float = 0.0
    file: str = field(default="", compare=False)

    def to_text(self, *, with_file: bool = True) -> str:
        """Return the choice as JSON; values that are as in plain bicubic are left out.

        Arguments:
            with_file: Whether the path stands in it: not where the text must not change with it.
        """
        plain = ForwardModel()
        values = {
            name: value
            for name, value in asdict(self).items()
            if name in ("operator", "border") or value != getattr(plain, name)
        }
        if not with_file:
            values.pop("file", None)
        return json.dumps(values)

    def identity(self, pixel_size_um: float) -> str:
        """Return what names this D at a size of an HR pixel, which a PSF in micrometres needs."""
        text = self.to_text(with_file=False)
        return f"{text} at {pixel_size_um:.9g} um" if self.psf_sd_um else text

    @classmethod
    def from_text(cls, text: str) -> ForwardModel:
        """Return the choice that :meth:`to_text` wrote.

        Raises:
            InputError: The text is not one that this version writes.
        """
        try:
            values = json.loads(text)
            shift = values.pop("shift_px", (0.0, 0.0))
            return cls(**values, shift_px=(float(shift[0]), float(shift[1])))
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                f"Found '{text}' as the choice of D, expected what degrade writes. Run degrade "
                f"again, or use the version of the program that wrote it."
            ) from error

    @property
    def keeps_turns(self) -> bool:
        """Whether D of a turned or mirrored image is D of the image, turned or mirrored alike.

        The numbers of a file are taken to have no such symmetry.
        """
        return not self.digest and not any(self.shift_px)

    def describe(self) -> str:
        """Return the choice for a person: 'psf_binning (sd 1.2 um, renormalize)'."""
        said = [f"sd {self.psf_sd_um:g} um"] if self.psf_sd_um else []
        said += [f"{Path(self.file).name or 'file'} {self.digest[:8]}"] if self.digest else []
        moved = "{:g}, {:g}".format(*self.shift_px)
        said += [f"shift {moved} px"] if any(self.shift_px) else []
        said += [f"then a blur of {self.blur_sd_px:g} LR px"] if self.blur_sd_px else []
        return f"{self.operator} ({', '.join([*said, self.border])})"

    def weights(self) -> np.ndarray:
        """Return the numbers of the PSF or kernel, (y, x) float64 with the sum 1.

        Raises:
            InputError: The file is missing, or holds other numbers than when the choice was made.
        """
        found = read_weights_file(Path(self.file))
        if digest_of(found) != self.digest:
            raise InputError(
                f"{self.file} holds other numbers than those with which D was made (digest "
                f"{self.digest[:8]}). Give that file back its content, or run degrade again."
            )
        return found


def add_operator(parser: argparse.ArgumentParser) -> None:
    """Add the settings of D as plain flags, for a command to which they are those of degrade."""
    group = parser.add_argument_group("D, as in degrade")
    hints = typing.get_type_hints(OperatorSettings)
    for one in fields(OperatorSettings):
        several = typing.get_origin(hints[one.name]) is tuple
        group.add_argument(
            "--" + one.name.replace("_", "-"),
            default=one.default,
            type=partial(convert_flag, hints[one.name], one.name),
            nargs=2 if several else None,
            choices=one.metadata["choices"],
            help=one.metadata["help"],
        )


def convert_flag(kind: type, name: str, text: str) -> object:
    """Return a flag's text as the value of a setting, or as one item of it."""
    inner = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
    return convert(text, inner, "--" + name.replace("_", "-"))


def model_of(settings: OperatorSettings | argparse.Namespace) -> ForwardModel:
    """Return the choice that settings or flags describe; a file of a PSF or kernel is read once.

    Raises:
        InputError: A value is missing, is not used by the operator, or is out of range.
    """
    for fault in faults(vars(settings)):
        raise InputError(fault)
    path = settings.psf_file or settings.kernel_file or ""
    return ForwardModel(
        operator=settings.operator,
        border=settings.border,
        psf_sd_um=settings.psf_sd_um,
        digest=digest_of(read_weights_file(Path(path))) if path else "",
        shift_px=(settings.shift_px[0], settings.shift_px[1]),
        file=str(Path(path).resolve()) if path else "",
    )


def operator_values(settings: OperatorSettings) -> dict[str, Any]:
    """Return the settings of D that are not as in plain bicubic, and its border."""
    plain = OperatorSettings()
    values = {one.name: getattr(settings, one.name) for one in fields(OperatorSettings)}
    return {n: v for n, v in values.items() if n == "border" or v != getattr(plain, n)}


def kept_under(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of D that stay as they are under changes, such as flags over a file.

    The PSF or the kernel stays only where the changes name neither another nor another operator.
    """
    operator = settings.get("operator", BICUBIC)
    other = changes.get("operator") or operator
    replaced = other != operator or any(changes.get(name) for name in WEIGHTS)
    return {n: v for n, v in settings.items() if not (replaced and n in WEIGHTS)}


def faults(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with settings of D, each a sentence."""
    operator, shift = values.get("operator", BICUBIC), values.get("shift_px", (0.0, 0.0))
    sd, psf, kernel = (values.get(name) for name in ("psf_sd_um", "psf_file", "kernel_file"))
    found = []
    if len(shift) != 2 or not all(math.isfinite(value) for value in shift):
        found.append(f"Found shift_px {list(shift)}, expected two numbers, y and x.")
    if sd and not 0 < sd < math.inf:
        found.append(f"Found psf_sd_um {sd:g}, expected a length of 0 um or more.")
    if operator == PSF_BINNING and bool(sd) == bool(psf):
        said = "both" if sd else "neither"
        found.append(
            f"The operator psf_binning has {said} of psf_sd_um and psf_file, expected one of them."
        )
    if operator == KERNEL and not kernel:
        found.append("The operator kernel has no kernel_file. Name a TIFF.")
    unused = [name for name in ("psf_sd_um", "psf_file") if operator != PSF_BINNING]
    unused += ["kernel_file"] if operator != KERNEL else []
    found += [
        f"{name} is given, and the operator {operator} does not use it. Leave it out, or set "
        f"operator: {KERNEL if name == 'kernel_file' else PSF_BINNING}."
        for name in unused
        if values.get(name)
    ]
    return found


def model_of_table(table: pd.DataFrame, path: Path | str) -> ForwardModel:
    """Return the choice that made the LR images of a table; it stands in the column ``forward``.

    Tables of earlier versions have the column ``border`` alone, and bicubic D.

    Raises:
        InputError: The table does not name one choice.
    """
    column = "forward" if "forward" in table.columns else "border"
    found = list(table[column].unique()) if column in table.columns else []
    if len(found) != 1:
        raise InputError(
            f"The table of {path} does not name one D (column 'forward'). Run the rule degrade or "
            f"low_resolution again."
        )
    text = str(found[0])
    return ForwardModel.from_text(text) if column == "forward" else ForwardModel(border=text)


def columns_of(model: ForwardModel) -> dict[str, str]:
    """Return what the table of LR images says of their D, by column."""
    return {"border": model.border, "forward": model.to_text()}


def blur_of_chain(chain: Sequence[str]) -> float:
    """Return the sd in LR px of the Gaussian blur in entries ``name:value``; 0 without one."""
    found = dict(entry.split(":") for entry in chain)
    return float(found.get(BLUR, 0.0))


def read_weights_file(path: Path) -> np.ndarray:
    """Return the image of a one-page TIFF, (y, x) float64, divided by its sum.

    Raises:
        InputError: The file is missing, holds more than one page, a value that is not finite, or
            values without a positive sum.
    """
    # tifffile takes a third of a second to import, and most choices of D have no file.
    from rls.io.images import read_planes

    if not path.is_file():
        raise InputError(
            f"The file {path} of a PSF or kernel does not exist. Name one that does; if D was "
            f"chosen with this one, put it back there."
        )
    images = np.asarray(read_planes(path, 1).images, dtype=np.float64)
    if images.shape[:2] != (1, 1):
        raise InputError(
            f"{path} holds {images.shape[0]} x {images.shape[1]} images, expected one: the "
            f"weights of a PSF or kernel in a plane. Save them as one grey plane."
        )
    total = images.sum()
    if not total > 0:
        raise InputError(f"The weights in {path} have the sum {total:g}, expected more than 0.")
    return images[0, 0] / total


def digest_of(weights: np.ndarray) -> str:
    """Return the digest of the numbers of a PSF or kernel, without their last bits."""
    rounded = np.round(weights, 12) + 0.0  # -0.0 becomes 0.0
    shape = np.array(weights.shape, dtype=np.int64).tobytes()
    return hashlib.blake2b(shape + rounded.tobytes(), digest_size=16).hexdigest()
