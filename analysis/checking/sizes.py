"""Check the sizes of an assay against each other: nucleus, image, crop, field and factor."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.cells.crop_settings import Settings
from analysis.checking.findings import DOUBT, FAULT, Findings
from analysis.run.values import Config, assay_factors, has_high_resolution, section_values

FILLED = (0.3, 0.7)  # share of the side of an image that a nucleus fills; about half is meant
INNER_SHARE = 0.4  # least share of a field in which whole crops fit; cells near the border are lost
POWERS = tuple(2**n for n in range(3, 11))  # px; image sizes that networks take
LEAST_SIDE = 4  # px of low resolution, the article's smallest


def check_sizes(
    findings: Findings,
    config: Config,
    assay: str,
    settings: Settings,
    field: tuple[int, int] | None,
) -> None:
    """Add what does not fit.

    Arguments:
        settings: Those of ``crop_cells``.
        field: Height and width of a field in px; None where it is not known.
    """
    block = config["assays"][assay]
    for kind, text in (
        *_of_nucleus(config, assay, settings),
        *(_of_field(settings, field) if field else ()),
        *_of_factors(block, config),
    ):
        findings.add(kind, text)


def _of_nucleus(config: Config, assay: str, settings: Settings) -> Iterator[tuple[str, str]]:
    block, measure = config["assays"][assay], section_values(config, "measure", assay)
    factors = assay_factors(block, config["run"]["factors"])
    shrunk = 1 if has_high_resolution(block) or not factors else factors[0]
    pixel, size = block["pixel_size_um"] / shrunk, block["image_size"]
    side = settings.nucleus_diameter_um / pixel
    said = f"A nucleus of {settings.nucleus_diameter_um:g} um is {side:.3g} px wide"
    if side < measure["nucleus_min_diameter_px"]:
        yield (
            FAULT,
            f"{said}, and below {measure['nucleus_min_diameter_px']:g} px none is measured "
            "(measure.nucleus_min_diameter_px). Correct the diameter or the pixel size; images as "
            "coarse as this are low resolution (resolution: low).",
        )
    elif not FILLED[0] <= side / size <= FILLED[1]:
        fitting = [p for p in POWERS if FILLED[0] <= side / p <= FILLED[1]] or [POWERS[-1]]
        yield (
            DOUBT,
            f"{said}, {side / size:.0%} of an image of {size} px; about half is meant, so that "
            f"the cell is seen whole and little else. Set image_size to "
            f"{' or '.join(map(str, fitting))}, or correct the diameter or the pixel size.",
        )
    if measure["nucleus_diameter_um"] != settings.nucleus_diameter_um:
        yield (
            DOUBT,
            f"crop_cells.nucleus_diameter_um is {settings.nucleus_diameter_um:g} and "
            f"measure.nucleus_diameter_um is {measure['nucleus_diameter_um']:g}. They are the same "
            "nuclei: set both alike.",
        )


def _of_field(settings: Settings, field: tuple[int, int]) -> Iterator[tuple[str, str]]:
    height, width = field
    crop = settings.crop_size
    if crop > min(field):
        yield (
            FAULT,
            f"A crop of {crop} px (crop_size) does not fit into a field of {height} x {width} px. "
            "Lower image_size and crop_size, or give whole fields and not cells that are cut out "
            "(source: crops takes those).",
        )
        return
    inner = (height - crop) * (width - crop) / (height * width)
    if inner < INNER_SHARE:
        yield (
            DOUBT,
            f"Only {inner:.0%} of a field of {height} x {width} px is far enough from its border "
            f"for a whole crop of {crop} px, so most cells are lost. Lower image_size, or give "
            "larger fields.",
        )


def _of_factors(block: Config, config: Config) -> Iterator[tuple[str, str]]:
    size = block["image_size"]
    for factor in assay_factors(block, config["run"]["factors"]):
        if size % factor == 0 and size // factor < LEAST_SIDE:
            yield (
                DOUBT,
                f"At factor {factor} an image of {size} px has {size // factor} px of low "
                f"resolution a side, fewer than the article's {LEAST_SIDE}. Use the factor "
                f"{size // LEAST_SIDE} or less.",
            )
