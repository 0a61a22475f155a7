"""Pack the state of a training into small files, and start from such files on another machine.

The files hold the weights of all three networks exactly, and Adam's second moments in bfloat16
(rounded by 0.4 % at most). Adam's first moments are left out: with StyleGAN2's beta1 = 0 each is
the last gradient, which no later step uses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rls.io import read_weights, write_weights
from rls.io.weights import tensors_digest
from rls.runtime.checkpoint import (
    MACHINE,
    StateFolder,
    checkpoint_step,
    checkpoints,
    read_checkpoint,
)
from rls.runtime.errors import InputError
from rls.runtime.siblings import named, read_identity
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.networks import Generator
from rls.stylegan2.optimisation import MOMENTS
from rls.stylegan2.training_identity import unlike

KIND = "training_state"
LEFT_OUT, ROUNDED = MOMENTS
FILE_BYTES = 12_000_000  # A file stays under this, as long as each tensor does.
SPARE_BYTES = 300_000  # for the names of tensors and what write_weights adds to a header


def find_state(path: Path) -> Path:
    """Return the state folder of a training: ``path``, or the only one in it.

    Raises:
        InputError: There is none, or there are several.
    """
    found = [path] if checkpoints(path) else sorted({c.parent for c in path.glob("*/checkpoint-*")})
    found = [folder for folder in found if folder.name.startswith("train_gan-")]
    if len(found) != 1:
        raise InputError(
            f"Found {', '.join(map(str, found)) or 'no state of a training'} in {path}, expected "
            "one folder train_gan-... with a checkpoint. Give it as --state."
        )
    return found[0]


def newest(folder: Path) -> dict[str, Any]:
    """Return the newest whole checkpoint of a state folder.

    Raises:
        InputError: No checkpoint is undamaged.
    """
    payloads = map(read_checkpoint, reversed(checkpoints(folder)))
    payload = next((found for found in payloads if found is not None), None)
    if payload is None:
        raise InputError(f"Found no undamaged checkpoint in {folder}, expected one. Train on.")
    return payload


def pack(folder: Path, output: Path) -> tuple[list[Path], dict[str, Any]]:
    """Write the newest whole checkpoint of a state folder as files under FILE_BYTES.

    Returns:
        The files, ``training_state.1-of-2.safetensors`` and so on, and their header.

    Raises:
        InputError: No checkpoint is undamaged.
    """
    payload = newest(folder)
    tensors, values = flatten(payload["trainer"])
    header = {
        "kind": KIND,
        "identity": read_identity(folder)[0],
        MACHINE: payload.get(MACHINE),
        "values": values,
        "rows": json.dumps(payload["rows"]),  # as text, which keeps the order of its columns
        "whole_digest": tensors_digest(tensors),
    }
    parts = split(tensors, FILE_BYTES - SPARE_BYTES - len(json.dumps(header)))
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob(f"{KIND}.*"):
        old.unlink()
    files = [file_of(output, i, len(parts)) for i in range(len(parts))]
    for i, part in enumerate(parts):
        write_weights(files[i], part, {**header, "part": i, "parts": len(parts)})
    return files, header


def load_average(path: Path, facts: Mapping[str, Any], device: torch.device) -> Generator:
    """Return the averaged generator of a training that goes on, frozen, from its newest checkpoint.

    Arguments:
        path: As for :func:`find_state`.
        facts: channels, pixel_size_um and intensity (as a dictionary) of the training's cells,
            which the state does not hold; they go to the header.
    """
    folder = find_state(path)
    state, known = newest(folder)["trainer"], read_identity(folder)[0]
    names = {one.name for one in fields(Architecture)} & set(known)
    sizes = {name: known[name] for name in names}
    generator = Generator(Architecture(n_channels=len(facts["channels"]), **sizes))
    generator.load_state_dict(state["average"])
    generator.header = {
        **facts,
        "image_size": known["image_size"],
        "images_seen": state["step"] * known["batch_size"],
        "digest": tensors_digest(state["average"]),
    }
    generator.source = str(folder)
    return generator.to(device).eval().requires_grad_(False)


def file_of(folder: Path, i: int, n: int) -> Path:
    """Return the path of file i of n, counted from 0 here and from 1 in its name."""
    return folder / f"{KIND}.{i + 1}-of-{n}.safetensors"


def unpack(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (a trainer's state, the header) of the files in a folder.

    Raises:
        InputError: A file is missing or damaged, or the files are not of one state.
    """
    first = sorted(folder.glob(f"{KIND}.1-of-*.safetensors"))
    if len(first) != 1:
        raise InputError(
            f"Found {len(first)} files {KIND}.1-of-N.safetensors in {folder}, expected one. Pack "
            "the training with python -m rls.pack_training, and give its --output."
        )
    tensors, header = read_weights(first[0], kind=KIND)
    for i in range(1, header["parts"]):
        tensors |= read_weights(file_of(folder, i, header["parts"]), kind=KIND)[0]
    if tensors_digest(tensors) != header["whole_digest"]:
        raise InputError(
            f"Found files of several states in {folder}, expected those of one. Copy them again."
        )
    return unflatten(tensors, header["values"]), header


def split(tensors: Mapping[str, Tensor], room: int) -> list[dict[str, Tensor]]:
    """Return tensors in as few groups as their order allows, each of at most ``room`` bytes."""
    parts: list[dict[str, Tensor]] = [{}]
    left = room
    for name, tensor in tensors.items():
        size = tensor.nbytes
        if size > left and parts[-1]:
            parts.append({})
            left = room
        parts[-1][name] = tensor
        left -= size
    return parts


def flatten(state: Mapping[Any, Any], path: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, other values) of nested dicts by their path; moments as in the files."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for key, value in state.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            inner = flatten(value, f"{name}/")
            tensors |= inner[0]
            values |= inner[1]
        elif not isinstance(value, Tensor):
            values[name] = value
        elif key != LEFT_OUT:
            tensors[name] = value.bfloat16() if key == ROUNDED else value
    return tensors, values


def unflatten(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the nested dicts that :func:`flatten` was given, with first moments of 0."""
    state: dict[Any, Any] = {}
    for name, value in {**values, **tensors}.items():
        *path, key = name.split("/")
        inner = state
        for step in path:
            inner = inner.setdefault(int(step) if step.isdecimal() else step, {})
        if key == ROUNDED:
            value = value.float()
            inner[LEFT_OUT] = torch.zeros_like(value)
        inner[key] = value
    return state


def continue_from(folder: Path | None, state: StateFolder) -> None:
    """Make a packed training the newest checkpoint of a state folder that is held.

    A checkpoint in the state folder that is further is left as it is.

    Raises:
        InputError: The files are not whole, or hold a training with other settings or images.
    """
    if folder is None or not state.writes:
        return
    payload, header = unpack(folder)
    if found := unlike(header["identity"], state.identity):
        raise InputError(
            f"Found another training in {folder}: {named(found)}. Expected the same settings and "
            "cells. Set them alike, or start from its weights with --init-from."
        )
    step = payload["step"]
    newest = max((checkpoint_step(path) for path in checkpoints(state.folder)), default=-1)
    if newest >= step:
        print(
            f"{state.name}: {state.folder} is at step {newest} and goes on; {folder} is at "
            f"step {step}, which is no further",
            flush=True,
        )
        return
    state.save(
        step,
        {
            "trainer": payload,
            "rows": json.loads(header["rows"]),
            MACHINE: header[MACHINE] or state.machine,
        },
    )
    print(
        f"{state.name}: takes over step {step} from {folder}. Moments of Adam were rounded there: "
        "the rest is not bit-equal to a training that had stayed",
        flush=True,
    )
