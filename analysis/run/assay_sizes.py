"""The sizes of one assay: fields, cells, pixels and networks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from analysis.run.keys import ROOT
from analysis.run.values import Config, expand_folder, section_values
from rls.io.names import CALIBRATION, EVALUATION, HELD_OUT, SPLITS
from rls.runtime.errors import InputError
from rls.stylegan2.arithmetic import Arithmetic
from rls.stylegan2.settings import auto_rules

FIELDS_OF_PLATE = {"bbbc021": 240, "bbbc014": 96}  # 60 wells of 4 fields; one field a well
FIELDS_OF_SHEET = 384  # a plate of unknown design
FIELD_PX = 1024 * 1280  # an unknown camera
MIB = 2**20
Units = dict[str, float]


class AssaySizes:
    """The sizes of one assay.

    Attributes:
        block: The assay's block of the configuration.
    """

    def __init__(self, config: Config, name: str) -> None:
        self.config, self.name = config, name
        self.block: Config = config["assays"][name]
        self.n_channels = len(self.block["channels"])

    def section(self, name: str) -> dict[str, Any]:
        """Return a section with the assay's own changes."""
        return section_values(self.config, name, self.name)

    @cached_property
    def n_fields(self) -> int:
        """The number of fields of a plate, at most."""
        if self.block["source"] == "sheet" and (rows := self._rows_of_table):
            return -(-rows // len(self.block["plates"]))
        if self.block["source"] != "simulate":
            return FIELDS_OF_PLATE.get(self.block["source"], FIELDS_OF_SHEET)
        values = self.section("simulate_plate")
        wells = values["wells_per_treatment"] * len(self.block["treatments"])
        return int((wells + values["empty_wells"]) * values["sites_per_well"])

    @cached_property
    def field_megapixels(self) -> float:
        """Megapixels of a plate's fields over all channels."""
        values = self.section("simulate_plate")
        simulated = self.block["source"] == "simulate"
        pixels = values["field_height_px"] * values["field_width_px"] if simulated else FIELD_PX
        return self.n_fields * self.n_channels * pixels / 1e6

    @cached_property
    def cells_of_plate(self) -> int:
        """The number of cells of a plate, at most."""
        if self._rows_of_crops is not None:
            return self._rows_of_crops
        return int(self.n_fields * self.section("crop_cells")["cells_per_field"])

    @cached_property
    def cells_of_plates(self) -> int:
        """The number of cells of all plates, at most."""
        if self._rows_of_crops is not None:
            return self._rows_of_crops
        return self.cells_of_plate * len(self.block["plates"])

    @cached_property
    def _rows_of_crops(self) -> int | None:
        """The number of cells in the sheet of cropped cells, of all plates; None without one."""
        return self._rows_of_table if self.block["source"] == "crops" else None

    @cached_property
    def _rows_of_table(self) -> int | None:
        """The number of rows of the assay's sheet, without comments; None where it has none."""
        try:
            lines = (ROOT / expand_folder(self.block["sheet"])).read_bytes().splitlines()
        except (InputError, OSError, KeyError):  # checks.py says what is wrong with it
            return None
        return max(sum(bool(line) and not line.startswith(b"#") for line in lines) - 1, 1)

    def cells(self, *splits: str, n_treatments: int | None = None) -> int:
        """Return the number of cells of some splits, or of all, at most as many as plates hold."""
        values = self.section("select_cells")
        wanted = sum(values[f"cells_{split}"] for split in splits or SPLITS)
        wanted *= len(self.block["treatments"]) if n_treatments is None else n_treatments
        return int(min(wanted, self.cells_of_plates))

    @cached_property
    def n_images(self) -> int:
        """The number of high-resolution images: all cells except the generator's training cells."""
        return self.cells(*HELD_OUT)

    def megapixels(self, n: float, *, cropped: bool = False) -> float:
        """Return the megapixels of n images, or of n crops with their margin for rotation."""
        side = self.block["crop_size" if cropped else "image_size"]
        return float(n * self.n_channels * side**2 / 1e6)

    def uint16_mib(self, n: float, *, cropped: bool = False) -> float:
        """Return the MiB of n images, or of n crops, as uint16 counts; float32 takes twice that."""
        return 2e6 * self.megapixels(n, cropped=cropped) / MIB

    def n_searched(self, n: int) -> int:
        """Return the rows that super_resolve finds with n solutions of each image.

        With several the cells of calibration are searched, too.
        """
        return self.cells(EVALUATION) if n == 1 else n * self.cells(EVALUATION, CALIBRATION)

    @cached_property
    def n_solutions(self) -> int:
        """The number of solutions of one kind, on the splits calibration and evaluation."""
        values = self.section("sample_solutions")
        return int(2 * values["cells_per_split"] * values["n_solutions"])

    @cached_property
    def networks(self) -> Arithmetic:
        """The generator that a section train_gan describes, and its discriminator."""
        values, size = self.section("train_gan"), self.block["image_size"]
        names = ("channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers")
        rules = auto_rules(size, values["batch_size"])
        values |= {name: rule for name, rule in rules.items() if values[name] is None}
        return Arithmetic(size, self.n_channels, **{name: values[name] for name in names})
