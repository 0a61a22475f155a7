"""A model as a folder: all that super-resolving other people's cells needs.

``generator.safetensors`` and ``intensity.json`` must be there; ``flow.safetensors`` (the prior),
``search.json`` (settings by factor and method) and ``trust.json`` (what its own cells look like)
may be. The results of an assay, ``runs/NAME/results/ASSAY``, are such a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rls.io import Intensity, read_intensity, read_weights, write_text
from rls.prior.styles import styles_and_mean
from rls.runtime.errors import InputError
from rls.search import Problem, Styles
from rls.search.forward import downscale
from rls.stylegan2.generator_io import FILE, load_generator
from rls.super_resolve import Settings, choose_precision

FLOW, STYLES, INTENSITY = "flow.safetensors", "styles.safetensors", "intensity.json"
SEARCH, TRUST = "search.json", "trust.json"
N_STYLES, BATCH, STYLES_SEED = 10_000, 1000, 1  # article 4.1: the mean of 10,000 w


@dataclass(frozen=True)
class Model:
    """What a model folder holds.

    Attributes:
        flow: None where there is none.
        styles: Drawn from the generator, always with the same seed: a second at most.
        digests: Of generator and flow, by name.
    """

    folder: Path
    generator: Any
    flow: Any
    styles: Styles
    intensity: Intensity
    digests: dict[str, str]

    def problem(
        self, y: np.ndarray, ids: tuple[str, ...], factor: int, settings: Settings,
        device: torch.device, network: Path | None = None,
    ) -> Problem:  # fmt: skip
        """Return the problem of images y (n, c, m, m) in [0, 1] units.

        Raises:
            InputError: The border rule of D is not one.
        """
        forward = downscale(self.generator.image_size, factor, settings.border)
        return Problem(
            y=torch.as_tensor(y, dtype=torch.float32).to(device),
            image_ids=ids,
            generator=self.generator,
            flow=self.flow,
            styles=self.styles,
            factor=factor,
            forward=forward.to(device),
            seed=settings.seed,
            device=device,
            precision=choose_precision(settings.precision, device),
            noise=settings.noise,
            network=network,
        )


def read_model(folder: Path, device: torch.device) -> Model:
    """Read a model folder and hold its files against each other.

    Raises:
        InputError: A file is missing or damaged, or is of another model.
    """
    need_folder(folder)
    generator = load_generator(folder, device)
    digests = {"generator": str(generator.header["digest"])}
    intensity = read_intensity(folder / INTENSITY)
    if intensity.channels != generator.channels:
        raise InputError(
            f"{folder / INTENSITY} has the channels {', '.join(intensity.channels)} and the "
            f"generator {', '.join(generator.channels)}. Give the scale of this generator."
        )
    flow = None
    if (folder / FLOW).is_file():
        from rls.prior.flows import read_flow  # nflows takes a second

        flow, header = read_flow(folder / FLOW, device)
        digests["flow"] = str(header["digest"])
        made_with = flow_generator(folder, header)
        if made_with != digests["generator"]:
            raise InputError(
                f"{folder / FLOW} is of the generator {made_with[:12] or 'unknown'}, and "
                f"{folder / FILE} is {digests['generator'][:12]}. Run fit_flow again with this one."
            )
    styles = _draw(generator)
    return Model(folder, generator, flow, styles, intensity, digests)


def need_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises:
        InputError: As said.
    """
    if not folder.is_dir():
        raise InputError(
            f"The model folder {folder} does not exist. Give one such as "
            "models/translocation_32px, or the results of an assay, runs/NAME/results/ASSAY."
        )


def flow_generator(folder: Path, flow_header: Mapping[str, Any]) -> str:
    """Return the digest of the generator whose styles a flow was fitted to; '' where unknown.

    Its header says so, or names the styles beside it, which do.
    """
    if "generator_digest" in flow_header:
        return str(flow_header["generator_digest"])
    if not (folder / STYLES).is_file():
        return ""
    styles = read_weights(folder / STYLES, kind="styles")[1]
    same = styles["digest"] == flow_header.get("styles_digest")
    return str(styles.get("generator_digest", "")) if same else ""


def _draw(generator: Any) -> Styles:  # noqa: ANN401
    device = generator.w_mean.device
    styles, mean = styles_and_mean(
        generator,
        N_STYLES,
        N_STYLES,
        seed=STYLES_SEED,
        batch_size=BATCH,
        label="styles of the generator",
    )
    return Styles(styles.to(device), mean.to(device))


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file of the model; empty where there is none.

    Raises:
        InputError: It is no JSON dictionary.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}). Run measure_trust again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no dictionary. Run measure_trust again.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of the model: lists of numbers on one line each."""
    lines = json.dumps(content, indent=1, ensure_ascii=False)
    write_text(path, _flat(lines) + "\n")


def _flat(text: str) -> str:
    """Return JSON text in which lists stand on one line."""
    out: list[str] = []
    inside = False
    for line in text.split("\n"):
        stripped = line.strip()
        if inside:
            out[-1] += (" " if stripped[0] != "]" and not out[-1].endswith("[") else "") + stripped
            inside = stripped[0] != "]"
        else:
            out.append(line)
            inside = stripped.endswith("[")
    return "\n".join(out)
