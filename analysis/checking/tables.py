"""Check the sheet of an assay: its columns, its treatments and plates, and whether files exist."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.checking.findings import FACT, FAULT, Findings
from analysis.plates import listing
from analysis.plates.field_files import resolve_paths
from analysis.plates.list_settings import Settings
from analysis.plates.names import spelling
from analysis.plates.sheet import check_sheet, path_columns, refuse_unlisted
from analysis.run.keys import ROOT
from analysis.run.values import Config, expand_folder, settings_of
from rls.runtime.errors import InputError

ALIKE = 0.7  # least similarity of two names, from 0 to 1, of which one may be the other misspelt
ANY_CAMERA = Settings("sheet", "compound", 1.0, 16)  # where the configuration's is no camera


@dataclass(frozen=True)
class Listed:
    """The rows of a sheet that an assay uses.

    Attributes:
        rows: With absolute paths, those whose files exist.
        whole: Whether every column was checked and found right.
        camera: Whether the table and the configuration agree on pixel size and bit depth.
    """

    rows: pd.DataFrame
    whole: bool
    camera: bool


def check_table(findings: Findings, config: Config, assay: str) -> Listed | None:
    """Check the sheet of an assay; return the rows that can be looked into, None without any."""
    block = config["assays"][assay]
    channels, plates = block["channels"], block["plates"]
    settings, camera = ANY_CAMERA, False
    with contextlib.suppress(InputError):  # The check of the configuration has said it.
        settings, camera = settings_of(Settings, config, "list_plate", assay), True
    sheet = findings.attempt(_in_program, block["sheet"])
    if sheet is None:
        return None
    folder = ROOT / block["image_folder"] if "image_folder" in block else None
    raw = findings.attempt(listing.read_users_sheet, settings, channels, sheet, folder)
    if raw is None:
        return None
    name = str(sheet)
    checked = findings.attempt(check_sheet, raw, channels, name)
    table = raw if checked is None else checked
    if camera and set(table) >= {"pixel_size_um", "bit_depth"}:
        before = len(findings.of_kind(FAULT))
        findings.attempt(listing.refuse_contradictions, table, settings, name)
        camera = len(findings.of_kind(FAULT)) == before
    if "plate" in table:
        _check_plates(findings, table, plates, name)
    if set(table) >= {"plate", "well", "treatment"}:
        _check_treatments(findings, table, block, settings, name)
        table = table[table["plate"].isin(plates) & table["treatment"].isin(block["treatments"])]
    rows = _with_files(findings, table, block, sheet)
    return None if rows is None or rows.empty else Listed(rows, checked is not None, camera)


def _check_plates(
    findings: Findings, table: pd.DataFrame, plates: Sequence[str], name: str
) -> None:
    findings.attempt(refuse_unlisted, table, plates, name)
    there = set(table["plate"].dropna())
    lacking = [plate for plate in plates if plate not in there]
    if lacking:
        findings.add(
            FAULT,
            f"Found no row of plate {', '.join(lacking)} in {name}, which has "
            f"{', '.join(sorted(there)[:8]) or 'none'}. Correct the assay's plates, or the table.",
        )


def _check_treatments(
    findings: Findings, table: pd.DataFrame, block: Config, settings: Settings, name: str
) -> None:
    """Compare the treatments of a table with those of the assay; a misspelt pair is one fault."""
    table = table.dropna(subset=["plate", "well", "treatment"])
    found = list(dict.fromkeys(table["treatment"]))
    treatments = list(block["treatments"])
    others = [one for one in found if one not in treatments]
    for treatment in [one for one in treatments if one not in found]:
        alike = {spelling(other): other for other in others}
        meant = difflib.get_close_matches(spelling(treatment), alike, 1, ALIKE)
        if meant:
            other = alike[meant[0]]
            rows = table[table["treatment"] == other]
            findings.add(
                FAULT,
                f"The assay has the treatment '{treatment}', of which {name} has no row, and the "
                f"table has '{other}' in {len(rows)} rows (first: well {rows['well'].iloc[0]}), "
                "which the assay lacks. If they are the same, write both alike.",
            )
            treatments.remove(treatment)
            others.remove(other)
            table = table.drop(rows.index)
    leave_out = settings.on_unlisted_treatment == "leave_out"
    findings.attempt(listing.judge_unlisted, table, treatments, name, leave_out=leave_out)
    findings.attempt(listing.check_treatments, table, block["plates"], treatments, name)


def _with_files(
    findings: Findings, table: pd.DataFrame, block: Config, sheet: Path
) -> pd.DataFrame | None:
    """Return the rows whose files exist, with absolute paths; None where no column names files."""
    channels, name = block["channels"], str(sheet)
    columns = path_columns(channels, table)
    if table.empty or not set(columns) <= set(table):
        return None
    base = sheet.parent
    if "image_folder" in block:
        folder = findings.attempt(_in_program, block["image_folder"])
        if folder is None:
            return None
        if not folder.is_dir():
            findings.add(
                FAULT,
                f"The image_folder {folder} does not exist. Correct it; a relative one starts from "
                f"the program's folder, {ROOT}.",
            )
            return None
        base = folder
    table = table.dropna(subset=columns)
    n_before = len(findings.of_kind(FAULT))
    found = findings.attempt(resolve_paths, table, channels, base, name)
    if found is None:
        there = table[[_all_files(base, row) for row in table[columns].to_numpy()]]
        found = Findings().attempt(resolve_paths, there, channels, base, name)
    if len(findings.of_kind(FAULT)) == n_before:
        wells = len(table[["plate", "well"]].drop_duplicates()) if "well" in table else 0
        findings.add(FACT, f"{name} lists {len(table)} fields in {wells} wells; every file exists.")
    return found


def _all_files(base: Path, paths: Sequence[object]) -> bool:
    return all(os.path.isfile(base / str(path)) for path in paths)


def _in_program(path: str) -> Path:
    """Return a path of the configuration, which starts from the program's folder.

    Raises:
        InputError: It names an environment variable that is not set.
    """
    return ROOT / expand_folder(path)
