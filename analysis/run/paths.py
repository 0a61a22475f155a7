"""Where the files of a run lie, relative to its folder."""

from __future__ import annotations

from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION

RUN = "results/run.json"
STACK, TABLE = ".ome.tif", ".parquet"


def of_assay(assay: str, file: str) -> str:
    """Return the path of a file that an assay has once, such as ``cells.ome.tif``."""
    return f"results/{assay}/{file}"


def of_condition(assay: str, factor: int | str, degradation: str, file: str) -> str:
    """Return the path of a file that an assay has at each factor and degradation."""
    return of_assay(assay, f"{factor}x/{degradation}/{file}")


def stack(assay: str, factor: int | str, degradation: str, name: str) -> str:
    """Return the path of a stack by its name; the factors share the high-resolution stack."""
    if name == HIGH_RESOLUTION:
        return of_assay(assay, name + STACK)
    return of_condition(assay, factor, degradation, name + STACK)


def low_resolution(assay: str, factor: int | str, degradation: str) -> str:
    """Return the path of the low-resolution stack."""
    return stack(assay, factor, degradation, LOW_RESOLUTION)


def table_beside(stack: str) -> str:
    """Return the path of the table that lies beside a stack."""
    return stack.removesuffix(STACK) + TABLE


def plate(assay: str, name: str, suffix: str) -> str:
    """Return the path of a plate's file: its cells, their table, its fields."""
    return of_assay(assay, f"plates/{name}{suffix}")


def network(assay: str, factor: int | str, method: str) -> str:
    """Return the path of the network of a method that trains its own."""
    return of_assay(assay, f"{factor}x/{method}.network.safetensors")


def solutions(assay: str, factor: int, degradation: str, method: str, kind: str) -> str:
    """Return the path, without a suffix, of several solutions of one kind."""
    return of_condition(assay, factor, degradation, f"solutions/{method}.{kind}")


def sweep(assay: str, factor: int, method: str) -> str:
    """Return the path of the measured sweep of a method."""
    return of_assay(assay, f"{factor}x/sweep/{method}.metrics.parquet")


def figure(name: str) -> str:
    """Return the path of a figure that the report shows."""
    return f"results/figures/{name}.png"
