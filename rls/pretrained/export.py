"""Copy a trained generator into a model folder, with a card that describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rls.encoder.settings import encoder_file
from rls.io import atomic_path, read_intensity, read_table, read_weights, write_text, write_weights
from rls.pretrained import encoders
from rls.pretrained.files import (
    FLOW,
    INTENSITY,
    PUBLISHED,
    QUALITY,
    SEARCH,
    TRUST,
    default_method,
    read_json,
)
from rls.pretrained.model_folder import flow_generator
from rls.pretrained.quality import card_section
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel
from rls.stylegan2.generator_io import FILE

LARGEST_MB = 12.0
TRAINING, CURVES = "training.safetensors", "generator.training.csv"
BESIDE = ("generator.png", "generator.progress.png", CURVES)
OWN_CELLS = """
## For your own cells

    rls super-resolve low.tif --model {folder} --factor {factor} --channels {channels} \\
        --out high.ome.tif

`--channels` names the channels in the order of your file; files that name them need no such flag.

{served}
"""
SERVED = (
    "Factor {factor}: from images of {low} x {low} px, one for each cell, by `{method}`{role}. "
    "Trust comes from {n} cells of split {splits}, which the generator has not seen. "
    "Settings of the search: {settings}.\n"
)
STARTS = """
## Where a search may start

{lines}
"""
START = (
    "`{name}`: factor {factor}, images of {low} x {low} px by {forward}{chain}; "
    "{megabytes:.2f} MB. The predicted mean explains {explained:.0%} of the variance of w.\n"
)
CARD = """# {title}

{about}

![samples of fixed z](generator.png)

The first eight of these samples in the course of the training:

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

Made by `{command}`. Files: `generator.safetensors` (the averaged weights, for use),
`training.safetensors` (generator and discriminator, from which a training can start: `init_from`),
`intensity.json` (the intensity scale of the generator), `generator.training.csv` (the curves; kd is
the kernel distance to held-out cells, kd_floor that between real cells, layouts the spread of block
means between images divided by that between cells).

Settings: {settings}
"""


def export(results: Path, output: Path, title: str, about: str, command: str) -> None:
    """Copy the files of an assay's results to the folder ``output``, and write its card.

    Arguments:
        title, about: Name and description of the model on the card.
        command: The command that makes the model again.

    Raises:
        InputError: A file is missing, damaged or too large, or the flow or an encoder is not of
            this generator.
    """
    tensors, header = read_weights(results / FILE, kind="generator")
    read_weights(results / TRAINING, kind="discriminator")
    read_intensity(results / INTENSITY)
    curves = read_table(results / CURVES)
    optional = [name for name in (SEARCH, TRUST, QUALITY) if (results / name).is_file()]
    flow = [FLOW] if (results / FLOW).is_file() else []
    copied = (FILE, TRAINING, INTENSITY, *BESIDE, *optional)
    found = encoders.find_encoders(results)
    for path in found.values():
        need_small(path, encoders.LARGEST_MB)
        encoders.check_generator(path, str(header["digest"]))
    for path in (results / name for name in (*copied, *flow)):
        need_small(path, LARGEST_MB)
    for name in copied:
        copy(results / name, output / name)
    for factor, path in found.items():
        copy(path, output / encoder_file(factor))
    if flow:
        copy_flow(results, output, str(header["digest"]))
    # What is left would be of the generator that was in the folder before.
    for name in {FLOW, SEARCH, TRUST, QUALITY}.difference(flow, optional):
        (output / name).unlink(missing_ok=True)
    for factor in encoders.find_encoders(output).keys() - found:
        (output / encoder_file(factor)).unlink()
    n_parameters = sum(tensor.numel() for tensor in tensors.values())
    # Some values are not measured at every tick: take the newest of each.
    newest = curves.ffill().iloc[-1].dropna()
    last = {str(name): float(value) for name, value in newest.items()}
    text = card(title, about, command, header, n_parameters, last)
    size = header["image_size"]
    text += (
        card_section(output, str(header["digest"]))
        + own_cells(output, size, header["channels"])
        + starts(output, size)
    )
    write_text(output / "README.md", text)


def need_small(path: Path, most: float) -> None:
    """Refuse a file of more than ``most`` MB, which would not come with the program.

    Raises:
        InputError: It is larger.
    """
    megabytes = path.stat().st_size / 1e6
    if megabytes > most:
        raise InputError(
            f"{path} has {megabytes:.1f} MB, more than the {most:g} MB that such a file of a model "
            "that comes with the program may have."
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())


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


def own_cells(folder: Path, image_size: int, channels: Sequence[str]) -> str:
    """Return the card's section on a user's own cells, '' for a model folder without trust."""
    chosen = read_json(folder / SEARCH)
    search, trust = chosen.get("factors", {}), read_json(folder / TRUST).get("factors", {})
    lines = []
    for factor, methods in trust.items():
        for method, entry in methods.items():
            block = {n: v for n, v in search[factor][method].items() if n != "super_resolve"}
            line = SERVED.format(
                factor=factor,
                low=image_size // int(factor),
                method=method,
                role=_role(method, default_method(chosen, factor), len(methods)),
                settings=", ".join(f"{n} {v}" for n, v in block.items() if v is not None),
                n=entry["n"],
                splits=" and ".join(entry["splits"]),
            )
            lines.append(line)
    if not lines:
        return ""
    return OWN_CELLS.format(
        folder=folder,
        factor=next(iter(trust)),
        channels=",".join(channels),
        served="\n".join(lines),
    )


def _role(method: str, default: str, n_methods: int) -> str:
    """Return what the card says of a method's place among several of one factor."""
    if n_methods == 1:
        return ""
    if method == default:
        return ", which is used if no method is named"
    whose = ", the article's method" if method == PUBLISHED else ""
    return f"{whose}, with `--method {method}`"


def starts(folder: Path, image_size: int) -> str:
    """Return the card's section on the encoders, '' for a model folder without any."""
    lines = []
    for factor, path in encoders.find_encoders(folder).items():
        _, header = read_weights(path, kind=encoders.KIND)
        line = START.format(
            name=path.name,
            factor=factor,
            low=image_size // factor,
            forward=ForwardModel.from_text(str(header["forward"])).describe(),
            chain="".join(f", then {step}" for step in header.get("chain", ())),
            megabytes=path.stat().st_size / 1e6,
            explained=header["explained_variance"],
        )
        lines.append(line)
    return STARTS.format(lines="\n".join(lines)) if lines else ""


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
