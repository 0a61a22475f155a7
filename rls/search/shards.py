"""Shards of a stack: cut its rows into parts, and gather the results of all parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rls.io import Stack, read_stack, read_weights, write_stack, write_weights
from rls.io.names import SEARCHES
from rls.runtime.errors import InputError
from rls.search.results import latents_path
from rls.search.solutions import SOURCE, best_rows, check_complete

NEEDED = ("row", "n_rows", "result_digest", "method")


@dataclass(frozen=True)
class Shard:
    """Number ``index`` (from 1) of ``count`` parts of the images."""

    index: int
    count: int

    @staticmethod
    def parse(text: str) -> Shard:
        """Return the shard that a text such as ``2-of-4`` names.

        Raises:
            InputError: The text has another form, or the first number is not from 1 to the second.
        """
        parts = text.split("-of-")
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            raise InputError(f"The shard is '{text}', expected I-of-N such as 1-of-4.")
        index, count = map(int, parts)
        if not 1 <= index <= count:
            raise InputError(f"The shard is '{text}', expected a first number of 1 to {count}.")
        return Shard(index, count)

    def rows(self, n: int) -> np.ndarray:
        """Return the shard's rows of ``n``, consecutive; the sizes of shards differ by one at most.

        Raises:
            InputError: There are fewer rows than shards.
        """
        if n < self.count:
            raise InputError(
                f"{n} images cannot be cut into {self.count} shards. Set run.shards to {n} or less."
            )
        return np.array_split(np.arange(n), self.count)[self.index - 1]


def check_table(table: pd.DataFrame, paths: Sequence[Path]) -> None:
    """Refuse shards of different searches, repeated shards and an incomplete set.

    Arguments:
        table: The tables of all shards, with the column ``shard_file``.

    Raises:
        InputError: The sentence names the file where one is at fault.
    """
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise InputError(
            f"The shards lack {', '.join(missing)}. Give files written by super_resolve."
        )
    digests = table.groupby("shard_file", sort=False)["result_digest"].agg(["first", "nunique"])
    other = digests.index[(digests["first"] != digests["first"].iloc[0]) | (digests["nunique"] > 1)]
    if len(other):
        raise InputError(
            f"The shard {other[0]} was made with other settings, models or images than {paths[0]}, "
            f"or at another batch size, which batch_size: auto chooses for each shard. Delete the "
            f"shards, give batch_size a number if it is auto, and run super_resolve again."
        )
    counts = table["row"].value_counts().reindex(range(int(table["n_rows"].iloc[0])), fill_value=0)
    if (counts > 1).any() or table["image_id"].duplicated().any():
        row = int(counts.index[counts > 1][0]) if (counts > 1).any() else 0
        files = ", ".join(table["shard_file"][table["row"] == row].unique())
        raise InputError(f"Image {row} occurs twice, in {files}. Give every shard once.")
    absent = counts.index[counts == 0]
    if len(absent):
        raise InputError(
            f"{len(absent)} of {len(counts)} images are in none of the {len(paths)} shards "
            f"(first: row {absent[0]}). Give all shards."
        )


@dataclass(frozen=True)
class Gathered:
    """The rows of all shards, in the order of an unsharded search.

    Attributes:
        stack: Images and table, numbered from 0.
        w: (n, L, d) latents.
        header: Header of the file of latents.
    """

    stack: Stack
    w: torch.Tensor
    header: Mapping[str, Any]

    def select(self, rows: np.ndarray, table: pd.DataFrame, description: str) -> Gathered:
        """Return some rows under another table, whose ids the latents take, too."""
        stack = replace(self.stack.select(rows), table=table, description=description)
        return Gathered(stack, self.w[torch.as_tensor(rows)], self.header)

    def write(self, output: Path) -> None:
        """Write stack, table and latents."""
        header = {**self.header, "image_ids": list(self.stack.table["image_id"])}
        write_weights(latents_path(output), {"w": self.w}, header)
        write_stack(
            output,
            self.stack.images,
            self.stack.table,
            channels=self.stack.channels,
            pixel_size_um=self.stack.pixel_size_um,
            written_by="gather_shards",
            description=self.stack.description,
        )


def gather(paths: Sequence[Path], output: Path) -> None:
    """Write the stack, table and latents of all shards, in the order of an unsharded search.

    Where the rows are several solutions of an image, all of them go to :func:`solutions_path`, and
    ``output`` gets one row for each image of split evaluation: its solution of least loss.

    Raises:
        InputError: The shards do not belong together, or some are missing.
    """
    found = read_shards(paths)
    if SOURCE in found.stack.table:
        check_complete(found.stack.table, paths[0])
        found.write(solutions_path(output))
        found = least_loss(found, str(paths[0]))
    found.write(output)
    print(f"gather_shards: {len(found.stack)} images of {len(paths)} shards", flush=True)


def solutions_path(stack: Path) -> Path:
    """Return where all solutions of the stack ``NAME.ome.tif`` lie: ``solutions/NAME.searches``."""
    name = stack.name.removesuffix(".ome.tif")
    return stack.parent / "solutions" / f"{name}.{SEARCHES}.ome.tif"


def least_loss(found: Gathered, name: str) -> Gathered:
    """Return the solution of least loss of each image of split evaluation, under the image's id.

    Raises:
        InputError: There is no such image.
    """
    table = found.stack.table
    rows = best_rows(table, name)
    best = table.iloc[rows].drop(columns="image_id").rename(columns={SOURCE: "image_id"})
    best = best.reset_index(drop=True).assign(row=np.arange(len(rows)), n_rows=len(rows))
    said = found.stack.description.replace("solutions an image", "solutions, that of least loss")
    return found.select(rows, best, said)


def read_shards(paths: Sequence[Path]) -> Gathered:
    """Read all shards and check that they belong together.

    Raises:
        InputError: They do not, or some are missing.
    """
    stacks = [read_stack(path) for path in paths]
    for path, stack in zip(paths, stacks, strict=True):
        if (stack.channels, stack.pixel_size_um) != (stacks[0].channels, stacks[0].pixel_size_um):
            raise InputError(f"{path} has other channels or pixels than {paths[0]}.")
    tables = [s.table.assign(shard_file=str(p)) for p, s in zip(paths, stacks, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    check_table(table, paths)
    order = np.argsort(table["row"].to_numpy(), kind="stable")
    latents, headers = zip(
        *(read_weights(latents_path(path), kind="latents") for path in paths), strict=True
    )
    ids = [image_id for header in headers for image_id in header["image_ids"]]
    if ids != list(table["image_id"]):
        raise InputError(
            f"The latents beside {paths[0]} and the other shards are of other images than the "
            f"stacks. Delete the shards and run super_resolve again."
        )
    table = table.iloc[order].drop(columns="shard_file").reset_index(drop=True)
    images = np.concatenate([stack.images for stack in stacks])[order]
    header = {name: value for name, value in headers[0].items() if name != "digest"}
    w = torch.cat([tensors["w"] for tensors in latents])[torch.as_tensor(order)]
    return Gathered(replace(stacks[0], images=images, table=table), w, header)
