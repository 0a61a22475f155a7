"""Copy a trained generator into a model folder, with a card that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.io import atomic_path, read_intensity, read_table, read_weights, write_text, write_weights
from rls.pretrained.files import FLOW, INTENSITY, SEARCH, TRUST, read_json
from rls.pretrained.model_folder import flow_generator
from rls.runtime.errors import InputError
from rls.stylegan2.generator_io import FILE

LARGEST_MB = 12.0
TRAINING, CURVES = "training.safetensors", "generator.training.csv"
BESIDE = ("generator.png", "generator.progress.png", CURVES)
OWN_CELLS = """
## For your own cells

    python -m rls.super_resolve_files low.tif --model {folder} --factor {factor} --out high.ome.tif

{served}
"""
SERVED = (
    "Factor {factor}: images of {low} x {low} px, one a cell, by `{method}` ({settings}); trust "
    "from {n} cells of split {splits}, which the generator has not seen.\n"
)
CARD = """# {title}

{about}

![samples of fixed z](generator.png)

The first eight of them over the training:

![samples of fixed z over the training](generator.progress.png)

| what | value |
| --- | --- |
| images | {size} x {size} px, channels {channels}, {pixel_size_um} um a pixel |
| trained on | {n_images} cells, data digest `{data_digest}` |
| images seen | {images_seen:,} |
| parameters | {n_parameters:,} |
| weights digest | `{digest}` |
| intensity, counts | {intensity} |
| last tick | {tick} |

Made by `{command}`. Files: `generator.safetensors` (average of the weights,
to be used), `training.safetensors` (generator and discriminator, to train on: `init_from`),
`intensity.json` (the scale on which it works), `generator.training.csv` (the curves; kd is the
kernel distance to held-out cells, kd_floor what real cells reach).

Settings: {settings}
"""


def export(results: Path, output: Path, title: str, about: str, command: str) -> None:
    """Copy the files of an assay's results to the folder ``output``, and write its card.

    Arguments:
        title, about: Name and description of the model on the card.
        command: The command that makes the model again.

    Raises:
        InputError: A file is missing, damaged or too large, or the flow is not of this generator.
    """
    tensors, header = read_weights(results / FILE, kind="generator")
    read_weights(results / TRAINING, kind="discriminator")
    read_intensity(results / INTENSITY)
    curves = read_table(results / CURVES)
    optional = [name for name in (SEARCH, TRUST) if (results / name).is_file()]
    flow = [FLOW] if (results / FLOW).is_file() else []
    copied = (FILE, TRAINING, INTENSITY, *BESIDE, *optional)
    for path in (results / name for name in (*copied, *flow)):
        megabytes = path.stat().st_size / 1e6
        if megabytes > LARGEST_MB:
            raise InputError(
                f"{path} has {megabytes:.1f} MB, more than the {LARGEST_MB:g} MB that a model that "
                "comes with the program may have."
            )
    for name in copied:
        with atomic_path(output / name) as temporary:
            temporary.write_bytes((results / name).read_bytes())
    if flow:
        copy_flow(results, output, str(header["digest"]))
    for name in {FLOW, SEARCH, TRUST}.difference(flow, optional):
        # It would be of the generator that was in the folder before.
        (output / name).unlink(missing_ok=True)
    n_parameters = sum(tensor.numel() for tensor in tensors.values())
    # Some values are not measured at every tick: take the newest of each.
    newest = curves.ffill().iloc[-1].dropna()
    last = {str(name): float(value) for name, value in newest.items()}
    text = card(title, about, command, header, n_parameters, last)
    write_text(output / "README.md", text + own_cells(output, header["image_size"]))


def card(
    title: str,
    about: str,
    command: str,
    header: Mapping[str, Any],
    n_parameters: int,
    tick: Mapping[str, float],
) -> str:
    """Return the text of a model's card.

    Arguments:
        header: Header of the generator's weights.
        tick: The newest value of each curve of the training.
    """
    scale = header["intensity"]
    levels = zip(scale["channels"], scale["black"], scale["white"], strict=True)
    return CARD.format(
        title=title,
        about=about,
        command=command,
        size=header["image_size"],
        channels=", ".join(header["channels"]),
        pixel_size_um=header["pixel_size_um"],
        n_images=header["n_training_images"],
        data_digest=header["data_digest"],
        images_seen=header["images_seen"],
        n_parameters=n_parameters,
        digest=header["digest"],
        intensity="; ".join(f"{c} {black:g} to {white:g}" for c, black, white in levels),
        tick=", ".join(f"{name} {value:.3g}" for name, value in tick.items()),
        settings=", ".join(f"{name} {value}" for name, value in header["settings"].items()),
    )


def own_cells(folder: Path, image_size: int) -> str:
    """Return the card's section on a user's own cells, '' for a model folder without trust."""
    search, trust = (read_json(folder / name).get("factors", {}) for name in (SEARCH, TRUST))
    lines = []
    for factor, methods in trust.items():
        for method, entry in methods.items():
            block = {n: v for n, v in search[factor][method].items() if n != "super_resolve"}
            line = SERVED.format(
                factor=factor,
                low=image_size // int(factor),
                method=method,
                settings=", ".join(f"{name} {value}" for name, value in block.items()),
                n=entry["n"],
                splits=" and ".join(entry["splits"]),
            )
            lines.append(line)
    if not lines:
        return ""
    return OWN_CELLS.format(folder=folder, factor=next(iter(trust)), served="\n".join(lines))


def copy_flow(results: Path, output: Path, generator: str) -> None:
    """Copy the flow without the styles it was fitted to; its header then names the generator.

    Raises:
        InputError: The flow belongs to another generator.
    """
    tensors, header = read_weights(results / FLOW, kind="flow")
    made_with = flow_generator(results, header)
    if made_with != generator:
        raise InputError(
            f"{results / FLOW} is of the generator {made_with[:12] or 'unknown'}, and that of the "
            f"folder is {generator[:12]}. Run fit_flow again."
        )
    header.pop("digest")
    write_weights(output / FLOW, tensors, {**header, "generator_digest": generator})
