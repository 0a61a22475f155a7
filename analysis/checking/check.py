"""Check configurations and the plates that they name; see :func:`check`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.cells.crop_settings import Settings as CropSettings
from analysis.checking.cells import check_cells
from analysis.checking.findings import ASSUMED, DOUBT, FAULT, Finding, Findings
from analysis.checking.images import Sampled, check_headers, check_pixels
from analysis.checking.models import check_generator
from analysis.checking.sizes import check_sizes
from analysis.checking.tables import Listed, check_table
from analysis.run.assay_defaults import CONTROLS
from analysis.run.checks import faults_of, is_valid
from analysis.run.keys import ROOT
from analysis.run.values import Config, merged, read_files, settings_of
from analysis.run.weights import settle
from rls.runtime.errors import InputError

KEYS_OF_TABLE = {"sheet": str, "plates": list, "channels": list, "treatments": list}


def check(configfiles: Sequence[Path]) -> list[Finding]:
    """Return all that is found of the configuration of some files, and of the plates it names.

    Nothing is written. Every file is looked for and its header read; pixels are read of a few
    fields. Plates of ``source: sheet`` are checked so; of other sources the configuration and the
    generator are.

    Arguments:
        configfiles: Overlays, as Snakemake takes them.
    """
    findings = Findings()
    files = findings.attempt(read_files, configfiles)
    config = None if files is None else findings.attempt(merged, files)
    if files is None or config is None:
        return findings.all
    for sentence in faults_of(config, files):
        findings.add(FAULT, sentence)
    valid = is_valid(config)
    if valid:
        findings.attempt(settle, copy.deepcopy(config), ROOT, {})
    for assay in _assays(config):
        _check_assay(findings, config, assay, valid=valid)
    return findings.all


def _assays(config: Config) -> Iterator[str]:
    """Yield the assays that run, of those whose blocks are there."""
    run, assays = config.get("run"), config.get("assays")
    names = run.get("assays") if isinstance(run, dict) else None
    for name in names if isinstance(names, list) else ():
        if isinstance(assays, dict) and isinstance(assays.get(name), dict):
            yield name


def _check_assay(findings: Findings, config: Config, assay: str, *, valid: bool) -> None:
    """Check one assay.

    Arguments:
        valid: Whether the configuration fits its schema, so that every value can be used.
    """
    block = config["assays"][assay]
    listed = None
    if block.get("source") == "sheet":
        if _is_usable(block):
            listed = check_table(findings, config, assay)
        if block.get("simulated") is True:
            text = f"assays.{assay} says simulated: true, and every figure will say so."
            findings.add(ASSUMED, f"{text} Take that line out for plates of your own.")
    elif block.get("source") not in (None, "simulate"):
        findings.add(
            ASSUMED,
            f"Of assay {assay} (source {block['source']}) only the configuration and the "
            "generator were checked, not the images.",
        )
    treatments = block.get("treatments")
    if isinstance(treatments, list) and len(treatments) < len(CONTROLS):
        findings.add(
            FAULT,
            f"assays.{assay}.treatments names {len(treatments)} treatment, and classifiers need "
            "two classes. Name the negative control first and the positive control second.",
        )
    if not valid:
        return
    settings = findings.attempt(settings_of, CropSettings, config, "crop_cells", assay)
    if settings is not None:
        _look(findings, config, assay, settings, listed)


def _is_usable(block: Config) -> bool:
    """Return whether a block has what its table is compared with, as text."""
    for key, kind in KEYS_OF_TABLE.items():
        value = block.get(key)
        if not isinstance(value, kind) or not value:
            return False
        if isinstance(value, list) and not all(isinstance(name, str) for name in value):
            return False
    return True


def _look(
    findings: Findings,
    config: Config,
    assay: str,
    settings: CropSettings,
    listed: Listed | None,
) -> None:
    """Check the images of an assay, its sizes, its splits and its generator."""
    block = config["assays"][assay]
    size, sampled = None, Sampled()
    if listed is not None:
        skip = settings.on_broken_field == "skip"
        rows, size = check_headers(findings, listed.rows, block["channels"], skip=skip)
        threshold = settings.segmenter == "threshold"
        if listed.whole and listed.camera and len(rows) and threshold:
            try:
                sampled = check_pixels(findings, config, assay, settings, rows)
            except InputError as error:  # An image was changed or removed meanwhile.
                findings.add(FAULT, str(error))
        elif not threshold:
            text = "Cells are found by Cellpose, so none was counted here."
            findings.add(DOUBT, f"{text} select_cells says how many there are.")
    check_sizes(findings, config, assay, settings, size)
    if listed is not None and listed.whole:
        usable = sampled.usable if sampled.crops else {}
        check_cells(findings, config, assay, listed.rows, settings.crop_size, size, usable)
    check_generator(findings, config, assay, sampled.levels())
