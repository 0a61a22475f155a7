"""Read a stack to be measured, and the reference images of each of its cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.measuring.columns import NEEDED
from rls.io import Intensity, Stack, read_intensity, read_stack
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, RESERVED_METHODS
from rls.io.splits import REPORT, rows_for
from rls.runtime.errors import InputError
from rls.search.forward import Forward, forward_operator
from rls.search.forward_model import model_of_table


@dataclass(frozen=True)
class StackPaths:
    """Files of a stack and of its references.

    Attributes:
        clean_low_resolution: LR images made by D alone; None where ``low_resolution`` is clean.
        intensity: The intensity scale of all of them.
    """

    stack: Path
    high_resolution: Path
    low_resolution: Path
    intensity: Path
    clean_low_resolution: Path | None = None


@dataclass(frozen=True)
class AlignedStacks:
    """The stack that is measured and, row by row, the HR, the LR and the clean LR images.

    Attributes:
        downscale, downscale_clean: The D that made LR, and that of the clean LR.
    """

    method: str
    stack: Stack
    high: Stack
    low: Stack
    clean: Stack
    intensity: Intensity
    downscale: Forward
    downscale_clean: Forward


def read_aligned(method: str, paths: StackPaths, factor: int) -> AlignedStacks:
    """Read and check the stack of ``method`` and its references.

    Raises:
        InputError: Channels, sizes or ids do not fit each other.
    """
    high, low = read_stack(paths.high_resolution), read_stack(paths.low_resolution)
    intensity = read_intensity(paths.intensity)
    stack = _read_method(method, paths, high, low)
    others: list[tuple[Path, Stack | Intensity]] = [
        (paths.stack, stack),
        (paths.low_resolution, low),
        (paths.intensity, intensity),
    ]
    for path, one in others:
        if one.channels != high.channels:
            raise InputError(
                f"{path} has the channels {', '.join(one.channels)}, {paths.high_resolution} has "
                f"{', '.join(high.channels)}. Give files of one assay."
            )
    operator = operator_of(high, low, factor, paths.low_resolution)
    if low.images.shape[-2:] != operator.size_out:
        raise InputError(
            f"{paths.low_resolution} has images of {low.images.shape[-1]} px; "
            f"{operator.size_in[1]} px reduced {factor} times is {operator.size_out[1]} px. Give "
            "the right --factor."
        )
    if method != LOW_RESOLUTION and stack.images.shape[-2:] != operator.size_in:
        raise InputError(
            f"{paths.stack} has images of {stack.images.shape[-1]} px and {paths.high_resolution} "
            f"of {operator.size_in[1]} px. A method gives images of the size of HR."
        )
    check_cells(method, stack, high, paths.stack)
    clean = _read_clean(paths, low)
    ids = stack.table["image_id"]
    return AlignedStacks(
        method,
        stack,
        align(ids, high, (paths.stack, paths.high_resolution)),
        align(ids, low, (paths.stack, paths.low_resolution)),
        align(ids, clean, (paths.stack, paths.clean_low_resolution)),
        intensity,
        operator,
        operator_of(high, clean, factor, paths.clean_low_resolution or paths.low_resolution),
    )


def align(
    image_ids: Iterable[str], reference: Stack, paths: tuple[Path | None, Path | None]
) -> Stack:
    """Return the rows of ``reference`` with these ids, in their order; an id may be repeated.

    Arguments:
        paths: Paths of the stack with these ids, and of ``reference``.

    Raises:
        InputError: An image is not in ``reference``.
    """
    wanted = pd.Index(list(image_ids))
    rows = pd.Index(reference.table["image_id"]).get_indexer(wanted)
    missing = wanted[rows < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(wanted)} images of {paths[0]} are not in {paths[1]} (first: "
            f"{missing[0]}). They were made from other cells: run the stages from degrade on again."
        )
    return reference.select(rows)


def check_cells(method: str, stack: Stack, high: Stack, path: Path | None) -> None:
    """Check that ``stack`` has every cell of HR, or of its split evaluation if it is of a method.

    Raises:
        InputError: The table of HR lacks a column, or there are too many or too few cells.
    """
    for column in NEEDED:
        if column not in high.table:
            raise InputError(
                f"The high-resolution table has no column '{column}'. "
                f"Run the rules select_cells and high_resolution again."
            )
    expected = high.table
    if method not in RESERVED_METHODS:
        expected = expected.iloc[rows_for(REPORT, expected, "The high-resolution stack")]
    different = set(expected["image_id"]) ^ set(stack.table["image_id"])
    if different:
        raise InputError(
            f"{path} holds {len(stack)} images and {len(expected)} were expected; "
            f"{len(different)} differ (first: {sorted(different)[0]}). "
            f"Run the stages from degrade on again."
        )


def operator_of(high: Stack, low: Stack, factor: int, path: Path | str) -> Forward:
    """Return the D that made ``low`` from images as large as those of ``high``.

    Fidelity is measured with the D that made the images, whatever a search was told.

    Raises:
        InputError: The table of ``low``, which lies at ``path``, does not say.
    """
    size = high.images.shape[-2:]
    model = model_of_table(low.table, path)
    return forward_operator(model, (size[0], size[1]), factor, high.pixel_size_um)


def _read_method(method: str, paths: StackPaths, high: Stack, low: Stack) -> Stack:
    """Return the stack of ``method``; HR and LR were read already and are not read again."""
    same = {HIGH_RESOLUTION: paths.high_resolution, LOW_RESOLUTION: paths.low_resolution}
    if paths.stack.resolve() != same.get(method, paths.stack).resolve():
        raise InputError(
            f"The method {method} is the stack {same[method]}, but --stack is "
            f"{paths.stack}. Give that stack, or another --method."
        )
    found = {HIGH_RESOLUTION: high, LOW_RESOLUTION: low}.get(method)
    return read_stack(paths.stack) if found is None else found


def _read_clean(paths: StackPaths, low: Stack) -> Stack:
    """Return the clean LR images.

    Raises:
        InputError: LR is degraded and no clean stack is given, or the two differ in shape.
    """
    path = paths.clean_low_resolution
    if path is None:
        if "chain" in low.table and (low.table["chain"] != "").any():
            raise InputError(
                f"{paths.low_resolution} is degraded ({low.table['chain'].iloc[0]}). Give the "
                f"images of D alone as --clean-low-resolution."
            )
        return low
    if path.resolve() == paths.low_resolution.resolve():
        return low
    clean = read_stack(path)
    if clean.channels != low.channels or clean.images.shape[-2:] != low.images.shape[-2:]:
        raise InputError(
            f"{path} and {paths.low_resolution} differ in channels or size. "
            f"Give the clean images of the same assay and factor."
        )
    return clean
