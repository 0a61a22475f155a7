"""Where the files of a run lie, relative to its folder."""

from __future__ import annotations

from rls.io.names import HIGH_RESOLUTION

RUN = "results/run.json"
STACK, TABLE = ".ome.tif", ".parquet"


def of_assay(assay: str, file: str) -> str:
    """Return the path of a file that an assay has once, such as ``cells.ome.tif``."""
    return f"results/{assay}/{file}"


def stack(assay: str, factor: str, degradation: str, name: str) -> str:
    """Return the path of a stack by its name; the factors share the high-resolution stack."""
    if name == HIGH_RESOLUTION:
        return of_assay(assay, name + STACK)
    return of_assay(assay, f"{factor}x/{degradation}/{name}{STACK}")


def table_beside(stack: str) -> str:
    """Return the path of the table that lies beside a stack."""
    return stack.removesuffix(STACK) + TABLE
