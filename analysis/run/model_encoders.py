"""Whether the encoder of a model's folder was trained on images like those of an assay.

Read while Snakemake plans, so without torch: the header of a safetensors file is JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.run.keys import OPERATOR_FILES
from analysis.run.values import Config, degradation_values, operator_values, section_values
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel, OperatorSettings, model_of

LONGEST_HEADER = 10_000_000  # bytes; a damaged file may name any length


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of weights that this program wrote, without their tensors.

    Raises:
        InputError: The file has none.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            text = json.loads(file.read(min(length, LONGEST_HEADER)))
        found: dict[str, Any] = json.loads(text["__metadata__"]["header"])
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise InputError(
            f"{path} has no header that can be read ({error}). Take it away, or copy it again."
        ) from error
    return found


def fits(
    path: Path, config: Config, assay: str, degradation: str, in_program: Callable[[str], str]
) -> bool:
    """Return whether an encoder was trained on images of this D, chain and quantisation.

    Arguments:
        in_program: Returns the path at which a file that the configuration names can be opened.

    Raises:
        InputError: The file has no header, or D is at fault.
    """
    header, operator = read_header(path), operator_values(config, assay, degradation)
    chain = degradation_values(config, degradation)["chain"]
    quantise = section_values(config, "degrade", assay)["quantise"]
    if (list(header["chain"]), header["quantise"]) != (list(chain), quantise):
        return False
    files = {key: in_program(operator[key]) for key in OPERATOR_FILES if operator[key]}
    wanted = model_of(OperatorSettings(**{**operator, **files}))
    return ForwardModel.from_text(str(header["forward"])) == wanted
