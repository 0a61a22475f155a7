"""Measure a model's own kind of cells, so that its users learn how far to trust their results.

The result is ``trust.json``: what such cells look like in low resolution and after a search.

High-resolution cells that the generator has not seen are reduced by D and searched as the model's
users will search. The facts of ``rls/pretrained/trust.py`` are kept as quantiles, from which
rls.super_resolve_files tells how far any cell lies from these cells. The settings of the search are
written beside them, in ``search.json``, so that the folder can be used without a configuration.
A method that starts from an encoder takes the encoder of the folder, or that of ``--encoders``.
Entries of other factors and methods stay in both files as long as the generator is the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rls.io.splits import COMPARE
from rls.pretrained.files import SEARCH, TRUST
from rls.runtime.command import Parser, option, run
from rls.search.arguments import parse
from rls.search.forward_model import OperatorSettings, model_of, operator_values
from rls.search.settings import AS_DEGRADED, WITH_BLUR
from rls.search.settings import Settings as SearchSettings

NAME = "measure_trust"
# The settings of super_resolve that the model's users should share.
KEPT = ("batch_size", "precision", "noise")


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings, OperatorSettings):
    """Settings that all searches share, D, and the choice of cells."""

    quantise: str = option(
        "Quantisation of the low-resolution images: 8bit or none, as in degrade.",
        choices=("8bit", "none"),
        default="8bit",
    )
    most_cells: int = option("Reference cells at most, drawn at random.", default=1000, least=1)


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, Settings, "super_resolve")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--high-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=list(COMPARE.splits),
        choices=COMPARE.splits,
        help="splits of the stack whose cells stand for those of users",
    )
    parser.add_argument("--factors", type=int, nargs="+", required=True, help="such as 8 16")
    parser.add_argument(
        "--encoders",
        type=Path,
        nargs="*",
        default=[],
        help="one for each factor; default: the model's",
    )
    parser.add_argument(
        "--default", action="store_true", help="use this method where a user names none"
    )
    parser.add_argument("--output", type=Path, help="folder to write; the model's by default")
    parser.add_argument("--state", type=Path, help="folder of finished batches")
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    parser.writes("output", folder=True)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the reference of one method at some factors."""
    args, settings, method = parse(make_parser(), sys.argv[1:] if argv is None else argv)
    # Imported here, so that --help does not wait for torch.
    import shutil

    from rls.pretrained.encoders import by_factor, needs_encoder
    from rls.pretrained.forwards import searched_by
    from rls.pretrained.model_folder import read_model
    from rls.pretrained.reference import measure, reference_cells, write_default, write_entry
    from rls.search.setup import exact_device

    model = read_model(args.model, exact_device(settings))
    output = args.output or args.model
    state = args.state or output / "state"
    stack = reference_cells(args.high_resolution, args.splits, model, settings.most_cells)
    forward = model_of(settings)
    choice = forward_without_chain(settings)
    searched = searched_by(forward, choice, method.settings)
    shared = shared_settings(settings, choice)
    chosen = {"search": method.search, **asdict(method.settings), "super_resolve": shared}
    finished, encoders = [], by_factor(args.encoders)
    for factor in args.factors:
        print(f"{NAME}: {len(stack)} cells by {method.name}, {factor}x", flush=True)
        if needs_encoder(method):
            model = model.with_encoder(factor, searched, encoders.get(factor))
        entry, folder = measure(
            model,
            stack,
            factor,
            method,
            settings,
            (forward, searched),
            settings.quantise,
            state,
            args.network,
        )
        finished.append(folder)
        if "log_prior" not in entry["facts"] and method.search == "rls":
            print(f"{NAME}: no flow in {args.model}; log p_F is no fact of trust", flush=True)
        entry["splits"] = list(args.splits)
        write_entry(output / SEARCH, model, factor, method.name, chosen)
        write_entry(output / TRUST, model, factor, method.name, entry)
        if args.default:
            write_default(output / SEARCH, factor, method.name)
    for folder in finished:  # Removed only now, so that a kill before this costs no search.
        shutil.rmtree(folder, ignore_errors=True)
    if not args.state and state.is_dir() and not any(state.iterdir()):
        state.rmdir()
    print(f"{NAME}: {output / TRUST}, {output / SEARCH}", flush=True)


def forward_without_chain(settings: SearchSettings) -> str:
    """Return the D in the search; no chain follows D here, so ``with_blur`` is D alone."""
    return AS_DEGRADED if settings.forward == WITH_BLUR else settings.forward


def shared_settings(settings: Settings, forward: str) -> dict[str, Any]:
    """Return the settings of super_resolve for search.json; ``forward`` where it is not usual."""
    own = {} if forward == AS_DEGRADED else {"forward": forward}
    return {name: getattr(settings, name) for name in KEPT} | operator_values(settings) | own


if __name__ == "__main__":
    run(main)
