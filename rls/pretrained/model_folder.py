"""Read a model folder, which holds all that the super-resolution of a user's own cells needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rls.io import Intensity, read_intensity, read_weights
from rls.pretrained.encoders import check_forward, encoder_of
from rls.pretrained.files import FLOW, INTENSITY, STYLES, need_folder
from rls.prior.styles import styles_and_mean
from rls.runtime.device import choose_precision
from rls.runtime.errors import InputError
from rls.search.forward import forward_operator
from rls.search.forward_model import ForwardModel
from rls.search.problem import Problem, Styles
from rls.search.settings import Settings
from rls.search.setup import searches_of
from rls.stylegan2.generator_io import FILE, load_generator
from rls.stylegan2.networks import Generator

if TYPE_CHECKING:
    from rls.encoder.network import Encoder
    from rls.prior.flows import StyleFlow

N_STYLES, BATCH, STYLES_SEED = 10_000, 1000, 1  # Article 4.1: the mean of 10,000 w.


@dataclass(frozen=True)
class Model:
    """The content of a model folder.

    Attributes:
        flow: None where there is none.
        styles: Drawn from the generator, always with the same seed; takes a second at most.
        digests: Digests of generator, flow and encoder, by name.
        encoder: The encoder of one factor and D; None until :meth:`with_encoder` reads it.
    """

    folder: Path
    generator: Generator
    flow: StyleFlow | None
    styles: Styles
    intensity: Intensity
    digests: dict[str, str]
    encoder: Encoder | None = None

    def with_encoder(self, factor: int, searched: ForwardModel, path: Path | None = None) -> Model:
        """Return the model with the encoder of a factor, read from its folder or from ``path``.

        Arguments:
            searched: The D in the search.

        Raises:
            InputError: The file is missing or damaged, or of another generator, factor or D.
        """
        # Searches without an encoder need not wait for it.
        from rls.encoder.network import check_encoder, read_encoder

        file = path or encoder_of(self.folder, factor)
        encoder, header = read_encoder(file, self.generator.w_mean.device)
        check_encoder(
            file,
            header,
            generator=self.digests["generator"],
            factor=factor,
            channels=self.generator.channels,
        )
        check_forward(file, header, searched)
        digests = {**self.digests, "encoder": str(header["digest"])}
        return replace(self, encoder=encoder, digests=digests)

    def problem(
        self,
        y: np.ndarray,
        ids: tuple[str, ...],
        factor: int,
        forward: ForwardModel,
        settings: Settings,
        device: torch.device,
        *,
        intensity: Intensity | None = None,
        network: Path | None = None,
    ) -> Problem:
        """Return the problem of images y (n, c, m, m) in [0, 1] units.

        Arguments:
            forward: The choice of D in the search.
            intensity: The scale of y; None for the model's own.

        Raises:
            InputError: The factor does not divide the size of the model's images.
        """
        size, pixel_size_um = self.generator.image_size, self.generator.pixel_size_um
        operator = forward_operator(forward, size, factor, pixel_size_um)
        return Problem(
            y=torch.as_tensor(y, dtype=torch.float32).to(device),
            image_ids=ids,
            generator=self.generator,
            flow=self.flow,
            styles=self.styles,
            factor=factor,
            forward=operator.to(device),
            intensity=intensity or self.intensity,
            seed=settings.seed,
            device=device,
            precision=choose_precision(settings.precision, device, "search"),
            noise=settings.noise,
            network=network,
            encoder=self.encoder,
            searches=searches_of(settings, device),
        )


def read_model(folder: Path, device: torch.device) -> Model:
    """Read a model folder, and check that its files belong together.

    Raises:
        InputError: A file is missing or damaged, or belongs to another model.
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
        # Models without a flow need not wait for nflows.
        from rls.prior.flows import read_flow

        flow, header = read_flow(folder / FLOW, device)
        digests["flow"] = str(header["digest"])
        made_with = flow_generator(folder, header)
        if made_with != digests["generator"]:
            raise InputError(
                f"{folder / FLOW} is of the generator {made_with[:12] or 'unknown'}, and "
                f"{folder / FILE} is {digests['generator'][:12]}. Run fit_flow again with this one."
            )
    w, mean = styles_and_mean(
        generator,
        N_STYLES,
        N_STYLES,
        seed=STYLES_SEED,
        batch_size=BATCH,
        label="styles of the generator",
    )
    styles = Styles(w.to(device), mean.to(device))
    return Model(folder, generator, flow, styles, intensity, digests)


def flow_generator(folder: Path, flow_header: Mapping[str, Any]) -> str:
    """Return the digest of the generator whose styles a flow was fitted to; '' where unknown."""
    # The flow's header names the generator, or the styles in the folder, whose header names it.
    if "generator_digest" in flow_header:
        return str(flow_header["generator_digest"])
    if not (folder / STYLES).is_file():
        return ""
    styles = read_weights(folder / STYLES, kind="styles")[1]
    same = styles["digest"] == flow_header.get("styles_digest")
    return str(styles.get("generator_digest", "")) if same else ""
