"""Write what a model's own cells look like in low resolution and when searched: trust.json.

High-resolution cells that the generator has not seen are reduced by D, searched as the model's
users will search, and the facts of :mod:`rls.pretrained.trust` are kept as quantiles:
rls.super_resolve then tells of any cell how far it lies from these. The search's settings are
written beside, ``search.json``, so that the folder can be used without a configuration. What the two files hold of
other factors and methods stays, as long as it is of the same generator.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rls import __version__
from rls.degrade import Settings as DegradeSettings
from rls.degrade import degrade
from rls.io import Stack
from rls.pretrained.model_folder import SEARCH, TRUST, Model, read_json, read_model, write_json
from rls.pretrained.trust import LEAST_CELLS, N_QUANTILES, SEARCH_SIDES, Facts, fit, image_facts
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed
from rls.search import load_method
from rls.search.arguments import parse
from rls.search.batches import Solved, solve
from rls.search.forward import BORDERS
from rls.super_resolve import Settings as SuperResolveSettings
from rls.super_resolve import network_digest, read_split

NAME = "measure_trust"
# settings of super_resolve that a user of the model should share
KEPT = ("batch_size", "precision", "noise", "border")


@dataclass(frozen=True)
class Settings(SuperResolveSettings):
    """Those of super_resolve, and which cells."""

    quantise: str = option("Of the low-resolution images: 8bit or none, as in degrade.", choices=("8bit", "none"), default="8bit")  # fmt: skip  # noqa: E501
    most_cells: int = option("Reference cells at most, drawn at random.", default=1000)


def reference_cells(path: Path, splits: Sequence[str], model: Model, most: int) -> Stack:
    """Return the reference cells, in an order that leaves neighbours apart.

    Raises:
        InputError: They are not the generator's channels or size, or of the split it learned.
    """
    if "gan" in splits:
        raise InputError("Found split gan, which the generator has learned; give splits it has not "
                         "seen, such as tune and classifier.")  # fmt: skip
    stack = read_split(path, *splits)
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
    # a fixed seed: the reference cells stay the same whatever seed the search has
    ids = stack.table["image_id"]
    order = np.argsort([stream_seed(0, image_id, NAME) for image_id in ids], kind="stable")
    return stack.select(order[:most])


def search_facts(solved: Solved) -> Facts:
    """Return the facts of :data:`SEARCH_SIDES` that the method gives, each (n,)."""
    found = {name: solved.columns.get(name) for name in SEARCH_SIDES}
    return {name: np.asarray(v, dtype=np.float64) for name, v in found.items() if v is not None}


def measure(
    model: Model, stack: Stack, factor: int, search: str, own: Any, settings: Settings,  # noqa: ANN401
    state_root: Path, network: Path | None = None,
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Return what trust.json says of one factor and method, and where its batches are kept."""
    unit = model.intensity.to_unit(stack.images)
    ids = tuple(stack.table["image_id"])
    how = DegradeSettings(settings.border, settings.quantise, settings.seed, settings.threads)
    low = degrade(unit, ids, factor, (), how)
    device = model.generator.w_mean.device
    problem = model.problem(low, ids, factor, settings, device, network)
    digests = model.digests | network_digest(network, model.intensity)
    identity = {
        "settings": asdict(settings) | {"precision": problem.precision} | asdict(own),
        "search": search,
        "factor": factor,
        "models": digests,
        "images": identity_digest({"all": list(stack.table["image_digest"])}),
    }
    with StateFolder(state_root, NAME, identity) as state:
        solved = solve(load_method(search), own, problem, settings.batch_size, state, NAME)
    # a search without a flow has no log p_F
    known = {name: v for name, v in search_facts(solved).items() if np.isfinite(v).all()}
    facts = image_facts(low, stack.channels) | known
    grid = np.linspace(0.0, 1.0, N_QUANTILES)
    pixels = np.quantile(low.transpose(1, 0, 2, 3).reshape(low.shape[1], -1), grid, axis=1)
    entry = {
        "settings": search_settings(own, settings),
        "flow_digest": model.digests.get("flow", ""),
        "network_digest": digests.get("network", ""),
        "cells_digest": identity["images"],
        "pixels": {c: [round(float(v), 6) for v in pixels[:, i]]
                   for i, c in enumerate(stack.channels)},
        **fit(facts).as_dict(),
    }  # fmt: skip
    return entry, state.folder


def search_settings(own: Any, settings: SuperResolveSettings) -> dict[str, Any]:  # noqa: ANN401
    """Return what decides the misfit and the prior that a search ends with."""
    return {**asdict(own), "noise": settings.noise, "border": settings.border}


def add(
    content: dict[str, Any], model: Model, factor: int, method: str, entry: dict[str, Any]
) -> dict[str, Any]:
    """Return a file's content with an entry; entries of another generator are dropped."""
    same = content.get("generator_digest") == model.digests["generator"]
    factors = dict(content.get("factors", {})) if same else {}
    factors[str(factor)] = {**factors.get(str(factor), {}), method: entry}
    return {
        "written_by": NAME,
        "program_version": __version__,
        "generator_digest": model.digests["generator"],
        "factors": dict(sorted(factors.items(), key=lambda item: int(item[0]))),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the reference of one method at some factors."""
    parser = Parser(__doc__, Settings, "super_resolve")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--high-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--splits", nargs="+", default=["tune", "classifier"],
                        help="splits of the stack that the generator has not seen")  # fmt: skip
    parser.add_argument("--factors", type=int, nargs="+", required=True, help="such as 8 16")
    parser.add_argument("--output", type=Path, help="folder to write; the model's by default")
    parser.add_argument("--state", type=Path, help="folder of finished batches")
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    args, settings, _, own = parse(parser, sys.argv[1:] if argv is None else argv)
    if settings.border not in BORDERS:
        raise InputError(
            f"The border rule of D is '{settings.border}', expected {' or '.join(BORDERS)}: here "
            "images are made. Give --border."
        )
    device = choose_device(settings.device, settings.threads)
    model = read_model(args.model, device)
    output = args.output or args.model
    state = args.state or output / "state"
    stack = reference_cells(args.high_resolution, args.splits, model, settings.most_cells)
    kept = []
    for factor in args.factors:
        print(f"{NAME}: {len(stack)} cells by {args.method}, {factor}x", flush=True)
        entry, folder = measure(
            model, stack, factor, args.search, own, settings, state, args.network
        )
        kept.append(folder)
        if "log_prior" not in entry["facts"] and args.search == "rls":
            print(f"{NAME}: no flow in {args.model}; log p_F is no fact of trust", flush=True)
        entry["splits"] = list(args.splits)
        chosen = {"search": args.search, **asdict(own)}
        chosen["super_resolve"] = {name: getattr(settings, name) for name in KEPT}
        write_json(output / SEARCH,
                   add(read_json(output / SEARCH), model, factor, args.method, chosen))  # fmt: skip
        write_json(output / TRUST,
                   add(read_json(output / TRUST), model, factor, args.method, entry))  # fmt: skip
    for folder in kept:  # only now: a kill before costs no search
        shutil.rmtree(folder, ignore_errors=True)
    if not args.state and state.is_dir() and not any(state.iterdir()):
        state.rmdir()
    print(f"{NAME}: {output / TRUST}, {output / SEARCH}", flush=True)


if __name__ == "__main__":
    run(main)
