"""Set up a search: read images, scale and networks, and refuse files that do not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from rls.encoder.network import KIND as ENCODER
from rls.encoder.network import Encoder, check_encoder, read_encoder
from rls.io import Intensity, Stack, read_intensity, read_stack, read_weights
from rls.io.splits import Use, rows_for
from rls.networks.pix2pix import check_assay
from rls.runtime.checkpoint import identity_digest
from rls.runtime.device import choose_device, choose_precision
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.search.arguments import Inputs
from rls.search.forward import forward_operator
from rls.search.forward_model import BICUBIC, ForwardModel, blur_of_chain, model_of_table
from rls.search.methods import AnySettings
from rls.search.problem import Problem, Styles
from rls.search.settings import PLAIN, SHARED, WITH_BLUR, Settings, forward_choice
from rls.search.steps import Searches
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

MADE_FROM = "high_resolution_digest"  # Column of images that degrade made.


@dataclass(frozen=True)
class Models:
    """Networks of a search, None where no file was given, and their digests by name."""

    generator: Generator | None
    flow: StyleFlow | None
    styles: Styles | None
    encoder: Encoder | None
    digests: dict[str, str]


@dataclass(frozen=True)
class Task:
    """Images to search, and everything that their search uses.

    Attributes:
        stack: n low-resolution images in counts.
        intensity: The scale on which the problem's [0, 1] lies.
        problem: The problem of all n images.
        forward: The choice of D in the search.
        digests: Digests of the networks, by name.
    """

    stack: Stack
    intensity: Intensity
    problem: Problem
    forward: ForwardModel
    digests: dict[str, str]

    def facts(self) -> dict[str, Any]:
        """Return what determines the result besides the settings, as JSON can hold it."""
        return {
            "factor": self.problem.factor,
            "forward": self.forward.identity(self.stack.pixel_size_um / self.problem.factor),
            "intensity": self.intensity.as_dict(),
            "models": self.digests,
            "images": joint_digest(self.stack.table["image_digest"]),
        }


def joint_digest(texts: Iterable[str]) -> str:
    """Return one digest of texts in their order, such as the digests or the ids of all images."""
    return identity_digest({"all": list(texts)})


def exact_device(settings: Settings) -> torch.device:
    """Return the device of a search, with full float32 and deterministic convolutions.

    Deterministic convolutions buy that a search whose generator is not compiled gives the same bits
    again on the same card, so that one that was interrupted ends as if it had never stopped.
    """
    device = choose_device(settings.device, settings.threads)
    # TF32 would round the inputs of "float32" convolutions and products to 10 bits of mantissa.
    # Steps of a search that begins in bfloat16 switch it on for themselves.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return device


def searches_of(settings: Settings, device: torch.device) -> Searches:
    """Return the keeper of a command's search steps; print whether they are recorded."""
    recorder = Recorder(device, settings.cuda_graphs)
    print(recorder.describe("search steps"), flush=True)
    return Searches(recorder, compile_setting=settings.compile)


def read_for(path: Path, *uses: Use) -> Stack:
    """Return the rows of a stack that may serve any of ``uses``, sorted by image id.

    Raises:
        InputError: The table has no column ``split``, or no row for one of the uses.
    """
    stack = read_stack(path)
    rows = np.unique(np.concatenate([rows_for(use, stack.table, str(path)) for use in uses]))
    return stack.select(rows[np.argsort(stack.table["image_id"].to_numpy()[rows], kind="stable")])


def set_up(
    inputs: Inputs,
    settings: Settings,
    stack: Stack,
    device: torch.device,
    method: AnySettings | None = None,
) -> Task:
    """Return the search of all images of ``stack``, after checking every file against it.

    Arguments:
        method: The method's own settings, whose ``forward_op`` may name another D than the
            settings that all searches share.

    Raises:
        InputError: Channels, sizes or networks do not fit together.
    """
    intensity, factor = read_intensity(inputs.intensity), inputs.factor
    if stack.channels != intensity.channels:
        raise InputError(
            f"{inputs.low_resolution} has the channels {', '.join(stack.channels)} and "
            f"{inputs.intensity} has {', '.join(intensity.channels)}. Give the scale of this assay."
        )
    height, width = (side * factor for side in stack.images.shape[-2:])
    made_by = stack.table["factor"].unique() if "factor" in stack.table.columns else [factor]
    if list(made_by) != [factor]:
        raise InputError(
            f"{inputs.low_resolution} was reduced by {', '.join(map(str, made_by))}, and the "
            f"factor given is {factor}. Give the factor of these images."
        )
    if inputs.generator and height != width:
        raise InputError(f"Images of {height} x {width} px are not square, as a generator's are.")
    choice = forward_choice(getattr(method, "forward_op", SHARED), settings.forward)
    forward = choose_forward(choice, stack.table, inputs.low_resolution)
    pixel_size_um = stack.pixel_size_um / factor
    models = read_models(inputs, height, stack.channels, device)
    if inputs.encoder:
        check_degradation(inputs.encoder, stack.table, inputs.low_resolution)
    problem = Problem(
        y=torch.as_tensor(intensity.to_unit(stack.images)).to(device),
        image_ids=tuple(stack.table["image_id"]),
        generator=models.generator,
        flow=models.flow,
        styles=models.styles,
        encoder=models.encoder,
        factor=factor,
        forward=forward_operator(forward, (height, width), factor, pixel_size_um).to(device),
        intensity=intensity,
        seed=settings.seed,
        device=device,
        precision=choose_precision(settings.precision, device, "search"),
        noise=settings.noise,
        network=inputs.network,
        searches=searches_of(settings, device),
    )
    return Task(stack, intensity, problem, forward, models.digests)


def choose_forward(choice: str, table: pd.DataFrame, path: Path) -> ForwardModel:
    """Return the D of a search: what made the images of ``table``, or what is asked for by name.

    Raises:
        InputError: The table does not name one D.
    """
    made_by = model_of_table(table, path)
    if choice == PLAIN:
        return ForwardModel(BICUBIC, made_by.border)
    if choice == WITH_BLUR:
        chains = set(table["chain"]) if "chain" in table.columns else {""}
        if len(chains) != 1:
            raise InputError(f"The images of {path} have several chains. Search them apart.")
        return replace(made_by, blur_sd_px=blur_of_chain(chains.pop().split()))
    return made_by


def check_degradation(encoder: Path, table: pd.DataFrame, path: Path) -> None:
    """Refuse an encoder whose images were made by another D or chain than those of ``table``.

    Images that were acquired in low resolution have no chain; that of their encoder imitates what
    the camera did.

    Raises:
        InputError: The sentence names both.
    """
    header = read_weights(encoder, kind=ENCODER)[1]
    chain = " ".join(header["chain"])
    trained = ForwardModel.from_text(str(header["forward"])), chain
    if MADE_FROM in table.columns:
        chain = ", ".join(sorted(set(table["chain"])))
    given = model_of_table(table, path), chain
    if trained != given:
        said, here = (f"{d.describe()} and the chain '{chain}'" for d, chain in (trained, given))
        raise InputError(
            f"{encoder} was trained on images made by {said}, and {path} was made by {here}. Run "
            f"train_encoder for these images."
        )


def read_models(
    inputs: Inputs, image_size: int, channels: Sequence[str], device: torch.device
) -> Models:
    """Read the networks and the styles that were given, and check their origins.

    Raises:
        InputError: The generator makes other images, or flow, styles or encoder were made with
            another generator.
    """
    generator = flow = styles = encoder = None
    digests: dict[str, str] = {}
    if inputs.generator:
        generator = load_generator(
            inputs.generator, device, image_size=image_size, channels=channels
        )
        digests["generator"] = str(generator.header["digest"])
    if inputs.styles:
        tensors, header = read_weights(inputs.styles, kind="styles")
        styles = Styles(tensors["w"].float().to(device), tensors["w_mean"].float().to(device))
        digests["styles"] = header["digest"]
        _check_origin(inputs.styles, header, "generator", digests, "sample_styles")
    if inputs.flow:
        # Methods without a prior need not wait for nflows.
        from rls.prior.flows import read_flow

        flow, header = read_flow(inputs.flow, device)
        digests["flow"] = header["digest"]
        # The flow of a model folder names its generator, whose styles may be drawn anew.
        source = "generator" if header.get("generator_digest") else "styles"
        _check_origin(inputs.flow, header, source, digests, "fit_flow")
    if inputs.encoder:
        encoder, header = read_encoder(inputs.encoder, device)
        digests["encoder"] = str(header["digest"])
        check_encoder(
            inputs.encoder,
            header,
            generator=digests.get("generator", ""),
            factor=inputs.factor,
            channels=channels,
        )
    if inputs.network:
        digests |= network_digest(inputs.network, read_intensity(inputs.intensity))
    return Models(generator, flow, styles, encoder, digests)


def network_digest(path: Path | None, intensity: Intensity) -> dict[str, str]:
    """Return the digest of a method's own network, by name; empty without a network.

    Raises:
        InputError: The network was trained on other channels or on another scale.
    """
    if path is None:
        return {}
    header = read_weights(path)[1]
    if "intensity" in header:
        check_assay(path, header, intensity)
    return {"network": str(header["digest"])}


def _check_origin(
    path: Path, header: Mapping[str, Any], source: str, digests: Mapping[str, str], rule: str
) -> None:
    """Refuse weights that were made with another ``source`` than the file given."""
    made_with = header.get(f"{source}_digest")
    if made_with and source in digests and made_with != digests[source]:
        raise InputError(
            f"{path} was made with the {source} {made_with[:12]}, and the {source} given here is "
            f"{digests[source][:12]}. Run {rule} again with this one."
        )
