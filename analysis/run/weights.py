"""The weights of other people's networks that a run uses; decided once, when the workflow starts.

A job on another machine, or one that starts after ``make weights``, must not decide otherwise: it
finds the decision in its environment. The SHA-256 of each file stands in the parameters of the jobs
that use it, so that Snakemake repeats all measurements if the weights change, or none. The paths do
not: no result depends on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from itertools import chain
from pathlib import Path
from typing import Any

from analysis.run.keys import NEEDED_WEIGHTS, needs_weights
from analysis.run.values import Config, degradation_values, expand_folder
from rls.networks.weights_settings import AUTO, NETS, located
from rls.runtime.command import RUN, VARIABLES
from rls.runtime.errors import InputError

DECIDED = "RLS_WEIGHTS_OF_RUN"  # holds the decision, as JSON, in the environment of jobs
USES = {
    "inception": "FID and KID",
    "vgg16": "LPIPS, kernel distance and published BRGM",
    "alexnet": "LPIPS",
}


def settle(
    config: dict[str, Any], program: Path | str, environ: MutableMapping[str, str]
) -> list[str]:
    """Replace ``auto`` in the block ``weights`` by files or none, and tell the jobs of the run.

    Arguments:
        config: The configuration, whose block ``weights`` is changed.
        program: The program's folder, which relative paths start from.
        environ: The environment that jobs inherit; it is changed.

    Returns:
        A sentence for every network; none where a job reads what was decided.

    Raises:
        InputError: A file does not exist or has no SHA-256, or a method that runs needs weights
            and there are none.
    """
    if RUN in environ and DECIDED in environ:
        config["weights"] = json.loads(environ[DECIDED])
        return []
    block = config["weights"] = dict(config["weights"])
    for net in NETS:
        path, sha256 = block[f"{net}_path"], block[f"{net}_sha256"]
        if path not in (None, AUTO):
            path = str(Path(program) / expand_folder(path))
            if not Path(path).is_file():
                raise InputError(f"weights.{net}_path names {path}, which does not exist.")
        found = located(net, path, sha256)
        block[f"{net}_path"] = str(found[0].resolve()) if found else None
        block[f"{net}_sha256"] = found[1] if found else None
    _check_methods(config)
    environ[DECIDED] = json.dumps(block)
    for net in NETS:
        environ[VARIABLES[f"{net}_path"]] = block[f"{net}_path"] or "none"
    return list(_sentences(block))


def _sentences(block: Config) -> Iterator[str]:
    for net in NETS:
        path, sha256 = block[f"{net}_path"], block[f"{net}_sha256"]
        if path:
            yield f"weights: {USES[net]} by {net} from {path}, SHA-256 {sha256}"
        else:
            yield f"weights: no file of {net}, so no {USES[net]} by it"


def _check_methods(config: Config) -> None:
    run = config["run"]
    rows = [degradation_values(config, name)["methods"] for name in run["degradations"]]
    for name in dict.fromkeys(chain(run["methods"], *rows)):
        block = config["methods"].get(name, {})
        if needs_weights(block) and not config["weights"][NEEDED_WEIGHTS[0]]:
            raise InputError(
                f"methods.{name} compares features of VGG16, and there are no weights of it. Run "
                "make weights, name a file in weights.vgg16_path, or take the method out of "
                "run.methods and degradations (brgm_no_perceptual needs none)."
            )
