"""Put the shards of one method together: images, table and latents, as if there were one.

Every shard must be there, made with the same settings, models and images; the rows then stand in
the order that an unsharded search gives them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rls.io import read_stack, read_weights, write_stack, write_weights
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.locks import hold_outputs
from rls.super_resolve import latents_path

NEEDED = ("row", "n_rows", "result_digest", "method")


def check_table(table: pd.DataFrame, paths: Sequence[Path]) -> None:
    """Refuse shards that are of different searches, doubled, or not all.

    Raises:
        InputError: As said; the sentence names the file where one is at fault.
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
            f"The shard {other[0]} was made with other settings, models or images than {paths[0]}. "
            f"Delete the shards and run super_resolve again."
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


def gather(paths: Sequence[Path], output: Path) -> None:
    """Write the stack, table and latents of all shards.

    Raises:
        InputError: The shards do not belong together or are not all.
    """
    stacks = [read_stack(path) for path in paths]
    for path, stack in zip(paths, stacks, strict=True):
        if (stack.channels, stack.pixel_size_um) != (stacks[0].channels, stacks[0].pixel_size_um):
            raise InputError(f"{path} has other channels or pixels than {paths[0]}.")
    table = pd.concat(
        [s.table.assign(shard_file=str(path)) for path, s in zip(paths, stacks, strict=True)],
        ignore_index=True,
    )
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
    w = torch.cat([tensors["w"] for tensors in latents])[torch.as_tensor(order)]
    table = table.iloc[order].drop(columns="shard_file").reset_index(drop=True)
    header = {name: value for name, value in headers[0].items() if name != "digest"}
    header["image_ids"] = list(table["image_id"])
    write_weights(latents_path(output), {"w": w}, header)
    write_stack(
        output,
        np.concatenate([stack.images for stack in stacks])[order],
        table,
        channels=stacks[0].channels,
        pixel_size_um=stacks[0].pixel_size_um,
        written_by="gather_shards",
        description=stacks[0].description,
    )
    print(f"gather_shards: {len(table)} images of {len(paths)} shards", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Gather shards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="*.ome.tif of each")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    hold_outputs(vars(args))
    gather(args.shards, args.output)


if __name__ == "__main__":
    run(main)
