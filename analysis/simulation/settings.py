"""Settings of ``simulate_plate``; lengths are in nuclear diameters (nd) unless the name says px."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option
from rls.runtime.errors import InputError

MAX_WELLS = 60  # The interior wells B02 to G11 of a 96-well plate, which BBBC021 uses.


@dataclass(frozen=True)
class Settings:
    """Settings of section ``simulate_plate``."""

    phenotype: str = option("What the treatment changes: translocation, golgi or cytoskeleton.")
    channels: tuple[str, ...] = option("Channels in order, the nucleus channel first.")
    treatments: tuple[str, ...] = option("Treatments, each in wells of its own.")
    ratio_medians: tuple[float, ...] = option(
        "Median nuclear-to-cytoplasmic concentration of the marker, one per treatment.", above=0
    )
    ratio_log_sd: float = option("Sd of the log ratio from cell to cell.", least=0)
    fragment_counts: tuple[float, ...] = option(
        "Median number of Golgi fragments of a cell, one per treatment; their summed area is "
        "equal.",
        above=0,
    )
    fragment_count_log_sd: float = option(
        "Sd of the log number of fragments from cell to cell.", least=0
    )
    golgi_area_nd2: float = option(
        "Median summed area of the fragments of a cell, in nd^2.", above=0
    )
    golgi_area_log_sd: float = option("Sd of the log of that area from cell to cell.", least=0)
    golgi_angle_sd_deg: float = option(
        "Sd of a fragment's angle about the Golgi's, in degrees.", least=0
    )
    golgi_distance_nd: tuple[float, ...] = option(
        "Least and greatest distance of a fragment from the centre of the nucleus, in nd.", least=0
    )
    golgi_haze: float = option(
        "Marker of the cytoplasm, as a share of that of a fragment.", least=0
    )
    effects: tuple[str, ...] = option(
        "Phenotype cytoskeleton: what each treatment does (none, depolymerise, bundle, collapse, "
        "enlarge)."
    )
    effect_doses: tuple[float, ...] = option(
        "Strength of that effect, 0 (none) to 1 (full), one per treatment.", least=0, most=1
    )
    effect_log_sd: float = option("Sd of the log of that response from cell to cell.", least=0)
    actin_counts: float = option("Mean actin over a free body, in counts.", least=0)
    tubulin_counts: float = option("Mean tubulin over a free body, in counts.", least=0)
    wells_per_treatment: int = option("Wells of each treatment on a plate.", least=1)
    sites_per_well: int = option("Fields per well.", least=1)
    field_height_px: int = option("Rows of a field, in pixels.", least=1)
    field_width_px: int = option("Columns of a field, in pixels.", least=1)
    nucleus_diameter_px: float = option("Mean nuclear diameter (nd), in pixels.", above=0)
    pixel_size_um: float = option("Pixel size, in um.", above=0)
    bit_depth: int = option(
        "Bits of the camera: counts stop at 2**bit_depth - 1.", choices=(8, 10, 12, 14, 16)
    )
    neighbours: float = option(
        "Mean number of other cells in an area of 2x2 crops, in colonies.", least=0
    )
    colony_share: float = option("Share of a field covered by colonies, 0 to 1.", least=0, most=1)
    nearest_centres_nd: float = option("Least distance between two nuclei, in nd.", least=0)
    body_diameter_nd: tuple[float, ...] = option(
        "Least and greatest diameter of a body, in nd.", above=0
    )
    body_aspect_max: float = option("Greatest aspect ratio of a body; the least is 1.", least=1)
    nucleus_area_cv: float = option("Coefficient of variation of nuclear area.", least=0)
    nucleus_offset_sd_nd: float = option(
        "Sd of the offset of nucleus from body, per axis, in nd.", least=0
    )
    radial_falloff: float = option(
        "Loss of marker from the centre to the rim of a body, 0 to 1.", least=0, most=1
    )
    expression_log_sd: float = option(
        "Sd of the log of a cell's total marker, in all treatments.", least=0
    )
    psf_sd_nd: float = option("Standard deviation of the point spread function, in nd.", least=0)
    out_of_focus_share: float = option("Share of cells out of focus, 0 to 1.", least=0, most=1)
    out_of_focus_sd_nd: float = option("Standard deviation of their blur, in nd.", least=0)
    dna_counts: float = option("Mean signal of a nucleus in its own channel, in counts.", least=0)
    marker_counts: float = option("Mean signal of the marker over a free body, in counts.", least=0)
    background_counts: float = option("Light of the medium in each channel, in counts.", least=0)
    camera_offset_counts: float = option("Counts of the camera without light.", least=0)
    electrons_per_count: float = option(
        "Electrons per count, which set the Poisson noise.", above=0
    )
    read_noise_counts: float = option("Standard deviation of the read noise, in counts.", least=0)
    illumination_depth: float = option(
        "Fall of the light from its peak to the corners, 0 to 1.", least=0, most=1
    )
    well_gain_log_sd: float = option(
        "Sd of the log gain of a well, the same in all treatments.", least=0
    )
    debris_per_field: float = option("Mean number of bright specks per field.", least=0)
    empty_wells: int = option("Wells without cells, of treatment 'empty'.", least=0)
    empty_fields: int = option("Fields without cells in wells that have a treatment.", least=0)
    broken_fields: int = option(
        "Fields with a truncated file or with camera noise, alternately.", least=0
    )
    seed: int = option("Seed; every random stream depends on it and on the plate's name.", least=0)

    def __post_init__(self) -> None:
        if len(set(self.treatments)) != len(self.treatments) or not self.treatments:
            raise InputError(
                f"Found treatments {list(self.treatments)}, expected at least one and no name "
                "twice. Correct simulate_plate.treatments."
            )
        for name in ("body_diameter_nd", "golgi_distance_nd"):
            if len(values := getattr(self, name)) != 2:
                raise InputError(
                    f"Found {name} {list(values)}, expected two numbers, least and greatest. "
                    f"Correct simulate_plate.{name}."
                )
        wells = len(self.treatments) * self.wells_per_treatment + self.empty_wells
        if not 0 < wells <= MAX_WELLS:
            raise InputError(
                f"Found {wells} wells, expected 1 to {MAX_WELLS}. Lower wells_per_treatment or "
                "simulate more plates."
            )
        fields = len(self.treatments) * self.wells_per_treatment * self.sites_per_well
        if self.empty_fields + self.broken_fields > fields:
            raise InputError(
                f"Found {self.empty_fields} empty_fields and {self.broken_fields} broken_fields "
                f"for {fields} fields. Lower one of them."
            )

    def of_treatment(self, name: str, treatment: str) -> float:
        """Return the value for ``treatment`` of the setting ``name``, one number per treatment.

        Raises:
            InputError: The setting has another number of values than there are treatments.
        """
        values = getattr(self, name)
        if len(values) != len(self.treatments):
            raise InputError(
                f"Found {len(values)} {name} for {len(self.treatments)} treatments, expected one "
                "each. Align the two lists in simulate_plate."
            )
        return float(values[self.treatments.index(treatment)])
