"""Apply a model folder to a user's own cells: read, scale, search, judge, write."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rls import __version__
from rls.io import Intensity, image_digests, table_path, write_stack, write_table
from rls.io.names import OK
from rls.pretrained import trust
from rls.pretrained.encoders import needs_encoder
from rls.pretrained.files import FLOW
from rls.pretrained.forwards import Settings, made_by, searched_by
from rls.pretrained.intensity_scale import choose_scale
from rls.pretrained.model_folder import Model, read_model
from rls.pretrained.reference import find_reference, search_facts, search_settings
from rls.pretrained.side_by_side import write_side_by_side
from rls.pretrained.user_cells import Cells, check_pixel_size, check_size, read_cells
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.search.batches import Solved, solve
from rls.search.forward_model import ForwardModel
from rls.search.methods import ChosenMethod
from rls.search.results import latents_path, likelihood_of, status_counts, write_latents
from rls.search.settings import AUTO
from rls.search.setup import exact_device, joint_digest, network_digest
from rls.search.start_settings import FLOW as FLOW_PRIOR

NAME = "super_resolve"


@dataclass(frozen=True)
class Request:
    """A user's request; its fields are the flags of the same names.

    Attributes:
        channels: Names in the order of the files, None to take those in the files.
        percentiles: Two percentiles that set the intensity scale, None for the model's scale.
        encoder: A file in place of the model's own encoder, None for that.
        state: Folder of finished batches, None for one beside ``out``.
    """

    files: Sequence[Path]
    model: Path
    factor: int
    out: Path
    channels: Sequence[str] | None
    axes: str | None
    intensity: Path | None
    percentiles: Sequence[float] | None
    network: Path | None
    encoder: Path | None
    state: Path | None
    overwrite: bool


def apply_model(request: Request, settings: Settings, method: ChosenMethod) -> None:
    """Super-resolve the user's cells and write images, table, picture and latents.

    Raises:
        InputError: The files, the model and the settings do not fit together.
    """
    refuse_existing(request)
    device, factor = exact_device(settings), request.factor
    model = read_model(request.model, device)
    cells = read_cells(request.files, model.intensity.channels, request.channels, request.axes)
    check(cells, model, factor, method)
    # Every batch is filled up, so with few cells a large batch would repeat them for nothing.
    if settings.batch_size != AUTO:
        settings = replace(settings, batch_size=min(settings.batch_size, len(cells)))
    forward = made_by(request.files, settings)
    searched = searched_by(forward, settings.forward, method.settings)
    if needs_encoder(method):
        model = model.with_encoder(factor, searched, request.encoder)
    digests = model.digests | network_digest(request.network, model.intensity)
    print(f"D in the search: {searched.describe()}", flush=True)
    own = search_settings(method.settings, settings, searched)
    reference, pixels, same = find_reference(
        model, factor, method.name, forward, own, digests.get("network", "")
    )
    scale = choose_scale(cells, model.intensity, request.intensity, request.percentiles, pixels)
    y, ids = scale.to_unit(cells.images), cells.image_ids
    problem = model.problem(
        y, ids, factor, searched, settings, device, intensity=scale, network=request.network
    )
    shared = settings.identity() | {"precision": problem.precision}
    identity = {
        "settings": shared | method.identity(),
        "method": method.name,
        "search": method.search,
        "forward": searched.identity(model.generator.pixel_size_um),
        "factor": factor,
        "models": digests,
        "scale": scale.as_dict(),
        "images": joint_digest(image_digests(cells.images)),
        "image_ids": joint_digest(ids),
    }
    size = model.generator.image_size
    print(f"{NAME}: {len(cells)} cells by {method.name}, {factor}x, to {size} px", flush=True)
    stem = request.out.name.removesuffix(".ome.tif")
    root = request.state or request.out.with_name(stem + ".state")
    with StateFolder(root, NAME, identity, output=request.out) as state:
        solved = solve(
            method.module, method.settings, problem, settings.batch_size, state, most=len(cells)
        )
        facts = trust.image_facts(y, scale.channels) | (search_facts(solved) if same else {})
        judged = trust.judge(facts, reference)
        write(request, cells, y, solved, scale, model, method, (forward, searched), judged)
    clear(state.folder, root)
    warn(solved)
    trust.print_trust(*judged)


def refuse_existing(request: Request) -> None:
    """Raise InputError if an output exists and need not be replaced."""
    existing = [str(path) for path in outputs(request.out).values() if path.exists()]
    if existing and not request.overwrite:
        raise InputError(
            f"{' and '.join(existing[:2])} would be replaced. Give --overwrite, or another --out."
        )


def clear(folder: Path, root: Path) -> None:
    """Remove the state of a finished search, and the folder of all states if it is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    if not any(root.iterdir()):
        root.rmdir()


def warn(solved: Solved) -> None:
    """Print how many searches did not end well."""
    for status, count in status_counts(solved).items():
        if status != OK:
            print(f"warning: {count} cells ended with search_status {status}", flush=True)


def check(cells: Cells, model: Model, factor: int, method: ChosenMethod) -> None:
    """Print how the user's files were understood, and check the cells against the model.

    Raises:
        InputError: The cells have another size than the model's over ``factor``, the method needs
            a flow that the model does not have, or searches a cell several times.
    """
    for note in cells.notes:
        print(f"read {note}", flush=True)
    check_size(cells, model.generator.image_size, factor)
    check_pixel_size(cells, model.generator.pixel_size_um, factor)
    if (n := getattr(method.settings, "n_solutions", 1)) > 1:
        raise InputError(
            f"Found n_solutions {n}: several solutions of a cell are a setting of the workflow, "
            "whose measurements they serve. Leave it out; each cell gets one image."
        )
    by_flow = getattr(method.settings, "prior", FLOW_PRIOR) == FLOW_PRIOR
    if getattr(method.settings, "lambda_w", 0) and by_flow and model.flow is None:
        raise InputError(
            f"{model.folder} has no {FLOW}, which the prior of this search needs. Fit one "
            "(rls stage sample_styles, then rls stage fit_flow), or give --lambda-w 0."
        )


def outputs(out: Path) -> dict[str, Path]:
    """Return the files that are written, by kind.

    Raises:
        InputError: The name does not end in .ome.tif.
    """
    if not out.name.endswith(".ome.tif"):
        raise InputError(f"Found --out {out}, expected a name that ends in .ome.tif. Name it so.")
    stem = out.name.removesuffix(".ome.tif")
    return {
        "images": out,
        "table": table_path(out),
        "csv": out.with_name(stem + ".csv"),
        "picture": out.with_name(stem + ".png"),
        "latents": latents_path(out),
    }


def write(
    request: Request,
    cells: Cells,
    y: np.ndarray,
    solved: Solved,
    scale: Intensity,
    model: Model,
    method: ChosenMethod,
    forwards: tuple[ForwardModel, ForwardModel],
    judged: tuple[np.ndarray, list[str]],
) -> None:
    """Write images, table, picture and latents.

    Arguments:
        forwards: The D that made the cells, as the user says, and the one in the search.
    """
    forward, searched = forwards
    paths, generator = outputs(request.out), model.digests["generator"]
    columns = {
        "image_id": cells.image_ids,
        "trust": judged[0],
        "trust_why": judged[1],
        **solved.columns,
        "file": cells.files,
        "number_in_file": cells.numbers,
        "factor": request.factor,
        "method": method.name,
        "search": method.search,
        "forward": forward.to_text(),
        "search_forward": searched.to_text(),
        "likelihood": likelihood_of(method.settings),
        "generator_digest": generator,
        "low_resolution_digest": image_digests(cells.images),
        "program_version": __version__,
    }
    table, name = pd.DataFrame(columns), model.folder.resolve().name
    if cells.about is not None:
        table = table.join(cells.about.drop(columns=[n for n in cells.about if n in columns]))
    write_latents(request.out, solved.latents, cells.image_ids, method.name, generator)
    write_table(paths["csv"], table, written_by=NAME)
    title = f"{request.factor}x by {method.name}, model {name}: synthesised, not acquired"
    write_side_by_side(
        paths["picture"], y, solved.images, scale.channels, cells.image_ids, *judged, title
    )
    write_stack(
        paths["images"],
        scale.to_counts(solved.images),
        table,
        channels=scale.channels,
        pixel_size_um=model.generator.pixel_size_um,
        written_by=NAME,
        description=f"Synthesised, not acquired: super-resolved {request.factor}x by "
        f"{method.name} (search {method.search}, D {searched.describe()}) with the model {name}, "
        f"generator {generator}, rls {__version__}. Detail beyond the low-resolution pixels is "
        "what the generator has learned.",
    )
    for kind, path in paths.items():
        print(f"{NAME}: {kind:8s} {path}", flush=True)
