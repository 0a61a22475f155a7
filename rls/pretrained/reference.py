"""The reference of trust: measure the facts of a model's own cells, and look them up later.

``trust.json`` holds one entry for each factor and method, and the digest of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from rls import __version__
from rls.io import Stack
from rls.io.splits import COMPARE, check
from rls.pretrained.files import DEFAULT, TRUST, read_json, write_json
from rls.pretrained.model_folder import Model
from rls.pretrained.trust import (
    LEAST_CELLS,
    N_QUANTILES,
    SEARCH_SIDES,
    Facts,
    Reference,
    fit,
    image_facts,
    is_of_same_forward,
)
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import VARIABLES
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed
from rls.search.batches import Solved, solve
from rls.search.degradation import degrade
from rls.search.forward_model import ForwardModel
from rls.search.methods import AnySettings, ChosenMethod
from rls.search.settings import Settings
from rls.search.setup import joint_digest, network_digest, read_for

NAME = "measure_trust"


def reference_cells(path: Path, splits: Sequence[str], model: Model, most: int) -> Stack:
    """Return the reference cells, shuffled so that neighbours are apart.

    Raises:
        InputError: They have other channels or another size than the generator's, or belong to a
            split that it has learned or that is reported.
    """
    check(COMPARE, splits)
    stack = read_for(path, replace(COMPARE, splits=tuple(splits)))
    size = model.generator.image_size
    if stack.channels != model.generator.channels or stack.images.shape[-2:] != (size, size):
        raise InputError(
            f"{path} has images of {stack.images.shape[-1]} px of {', '.join(stack.channels)}, "
            f"and the model makes {size} px of {', '.join(model.generator.channels)}. Give the "
            "high-resolution cells of this model's assay."
        )
    if min(len(stack), most) < LEAST_CELLS:
        raise InputError(
            f"Found {min(len(stack), most)} cells of split {' and '.join(splits)} in {path}, "
            f"expected {LEAST_CELLS} or more: fewer cannot tell what one in a hundred is. Give "
            "more cells or splits."
        )
    # The seed is fixed, so that the reference cells do not change with the seed of the search.
    ids = stack.table["image_id"]
    order = np.argsort([stream_seed(0, image_id, NAME) for image_id in ids], kind="stable")
    return stack.select(order[:most])


def search_facts(solved: Solved) -> Facts:
    """Return those facts of :data:`SEARCH_SIDES` that the method gives, each (n,)."""
    found = {name: solved.columns.get(name) for name in SEARCH_SIDES}
    return {name: np.asarray(v, dtype=np.float64) for name, v in found.items() if v is not None}


def search_settings(own: AnySettings, settings: Settings, searched: ForwardModel) -> dict[str, Any]:
    """Return what determines the misfit and the prior with which a search ends.

    What is as a setting's default is left out, so that an entry stays true when settings are added.

    Arguments:
        searched: The D in the search.
    """
    defaults = {one.name: one.default for one in fields(own) if one.default is not MISSING}
    deciding = {name: value for name, value in asdict(own).items() if name not in VARIABLES}
    given = {n: v for n, v in deciding.items() if n not in defaults or v != defaults[n]}
    if searched != ForwardModel(border=searched.border):
        given["forward"] = searched.to_text(with_file=False)
    return {**given, "noise": settings.noise, "border": searched.border}


def measure(
    model: Model,
    stack: Stack,
    factor: int,
    method: ChosenMethod,
    settings: Settings,
    forwards: tuple[ForwardModel, ForwardModel],
    quantise: str,
    state_root: Path,
    network: Path | None = None,
) -> tuple[dict[str, Any], Path]:
    """Return the entry of trust.json for one factor and method, and the folder of its batches.

    Arguments:
        forwards: The D that makes the images, and the one in the search.
    """
    forward, searched = forwards
    ids = tuple(stack.table["image_id"])
    low = degrade(
        model.intensity.to_unit(stack.images),
        ids,
        factor,
        (),
        forward=forward,
        pixel_size_um=model.generator.pixel_size_um,
        quantise=quantise,
        seed=settings.seed,
    )
    device = model.generator.w_mean.device
    problem = model.problem(low, ids, factor, searched, settings, device, network=network)
    digests = model.digests | network_digest(network, model.intensity)
    identity = {
        "settings": settings.identity() | {"precision": problem.precision} | method.identity(),
        "search": method.search,
        "forwards": [one.identity(model.generator.pixel_size_um) for one in forwards],
        "factor": factor,
        "models": digests,
        "images": joint_digest(stack.table["image_digest"]),
    }
    output = f"{model.folder / TRUST} {factor}x {method.name}"
    with StateFolder(state_root, NAME, identity, output=output) as state:
        solved = solve(method.module, method.settings, problem, settings.batch_size, state, NAME)
    # A search without a flow has no log p_F.
    known = {name: v for name, v in search_facts(solved).items() if np.isfinite(v).all()}
    entry = {
        "forward": forward.to_text(),
        "settings": search_settings(method.settings, settings, searched),
        "flow_digest": model.digests.get("flow", ""),
        "network_digest": digests.get("network", ""),
        "encoder_digest": digests.get("encoder", ""),
        "cells_digest": identity["images"],
        "batch_size": solved.batch_size,
        "pixels": _pixel_quantiles(low, stack.channels),
        **fit(image_facts(low, stack.channels) | known).as_dict(),
    }
    return entry, state.folder


def _pixel_quantiles(low: np.ndarray, channels: Sequence[str]) -> dict[str, list[float]]:
    """Return 101 quantiles of the pixels of images (n, c, y, x), by channel."""
    grid = np.linspace(0.0, 1.0, N_QUANTILES)
    pixels = np.quantile(low.transpose(1, 0, 2, 3).reshape(low.shape[1], -1), grid, axis=1)
    return {c: [round(float(v), 6) for v in pixels[:, i]] for i, c in enumerate(channels)}


def write_entry(
    path: Path, model: Model, factor: int, method: str, entry: Mapping[str, Any]
) -> None:
    """Add an entry to a JSON file of the model; entries of another generator are dropped."""
    content, digest = read_json(path), model.digests["generator"]
    same = content.get("generator_digest") == digest
    factors = dict(content.get("factors", {})) if same else {}
    factors[str(factor)] = {**factors.get(str(factor), {}), method: entry}
    head = {"written_by": NAME, "program_version": __version__, "generator_digest": digest}
    kept = {DEFAULT: content[DEFAULT]} if same and DEFAULT in content else {}
    ordered = dict(sorted(factors.items(), key=lambda f: int(f[0])))
    write_json(path, {**head, **kept, "factors": ordered})


def write_default(path: Path, factor: int, method: str) -> None:
    """Name the method of a factor that users get where they name none, in search.json."""
    content = read_json(path)
    write_json(path, {**content, DEFAULT: {**content.get(DEFAULT, {}), str(factor): method}})


def find_reference(
    model: Model,
    factor: int,
    method: str,
    forward: ForwardModel,
    settings: dict[str, Any],
    network: str,
) -> tuple[Reference | None, dict[str, list[float]], bool]:
    """Return (reference, its pixel quantiles by channel, whether its search was the same).

    A reference of another method or of other settings still serves for the facts of the images; one
    of another D only for the scale of intensities.

    Arguments:
        forward: The D that made the images.
        settings: See :func:`search_settings`.
        network: Digest of the method's own network, '' without one.

    Raises:
        InputError: The reference was measured with another generator.
    """
    content = read_json(model.folder / TRUST)
    methods = content.get("factors", {}).get(str(factor), {})
    entry = methods.get(method) or next(iter(methods.values()), None)
    if entry is None:
        print(
            f"trust: unknown, {model.folder / TRUST} has nothing of factor {factor}. "
            "python -m rls.measure_trust adds it.",
            flush=True,
        )
        return None, {}, False
    if content.get("generator_digest") != model.digests["generator"]:
        raise InputError(
            f"{model.folder / TRUST} was measured with another generator. Run measure_trust again."
        )
    if not is_of_same_forward(entry, forward):
        return None, entry["pixels"], False
    same = (
        method in methods
        and entry["settings"] == settings
        and entry["flow_digest"] == model.digests.get("flow", "")
        and entry.get("network_digest", "") == network
        and entry.get("encoder_digest", "") == model.digests.get("encoder", "")
    )
    if not same:
        print(
            "trust: judged by the images alone; the reference was searched with other settings "
            "or another method",
            flush=True,
        )
    return Reference.from_dict(entry), entry["pixels"], same
