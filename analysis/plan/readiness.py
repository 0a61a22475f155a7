"""What a run needs of this machine before it starts: a device, disk, and the archives of plates.

Each function returns a sentence on what was found, or raises InputError with what to do.
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from analysis.plan.costs import RAW_MB, Cost
from analysis.plan.jobs import Job
from analysis.plates.bbbc021 import IMAGE_CSV
from analysis.plates.fetch import find_archive
from analysis.run.keys import ROOT
from analysis.run.rates import Machine
from analysis.run.values import Config, expand_folder
from rls.runtime.errors import InputError

SPARE = 1.2  # disk that is asked for over disk that is planned
TIMEOUT_S = 30.0


def read_profile(folder: Path) -> Mapping[str, object]:
    """Return the options of a profile of Snakemake.

    Raises:
        InputError: There is none. Snakemake itself would say nothing.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise InputError(
            f"Found no profile {path}. Give its folder, e.g. PROFILE=workflow/profiles/slurm."
        )
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def device_found(config: Config, machine: Machine, *, cluster: bool) -> str:
    """Say where torch will run, and whether the plan is for it.

    Arguments:
        machine: That of the plan.

    Raises:
        InputError: ``device: cuda``, and no GPU is found on this machine.
    """
    if config["device"] == "cpu":
        return "Device: processors, as the configuration says."
    if cluster:
        return "Device: each job takes the GPU that the cluster gives it."
    import torch

    if torch.cuda.is_available():
        return f"Device: {torch.cuda.get_device_name()}."
    if config["device"] == "cuda":
        raise InputError(
            "Found no GPU, expected one by device: cuda. Set device: auto, or see what python -m "
            "rls.device says."
        )
    if machine.gpu is not None:  # named by the user, or a card that this torch cannot use
        return (
            "Device: torch found no GPU, so jobs run on processors and take longer than the plan "
            f"above, which is for {machine.gpu.machine}. See python -m rls.device."
        )
    return "Device: found no GPU, so processors alone; the plan above is for them."


def disk_found(folder: Path, costs: Mapping[str, Cost]) -> str:
    """Say how much disk the run leaves, and how much is free where it will lie.

    Raises:
        InputError: It does not fit.
    """
    fetching = RAW_MB if "fetch_plate" in costs else 0
    needed = SPARE * sum(cost.disk_mb for cost in costs.values()) + fetching
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(there).free / 1e6
    if free < needed:
        raise InputError(
            f"Found {free / 1000:.1f} GB free in {there}, expected {needed / 1000:.1f} GB for this "
            "run. Free space, or run in another folder."
        )
    return f"Disk: {needed / 1000:.1f} GB needed with a fifth to spare, {free / 1000:.1f} GB free."


def archives_found(config: Config, jobs: Iterable[Job]) -> Iterator[str]:
    """Say for each assay whose plates are still to be fetched that its archives can be reached.

    Raises:
        InputError: They cannot.
    """
    names = {job.wildcards["assay"] for job in jobs if job.rule == "fetch_plate"}
    for name in sorted(names):
        archives = config["assays"][name]["archives"]
        place = archives if "://" in archives else str(ROOT / expand_folder(archives))
        found = find_archive(place, IMAGE_CSV[-1])
        if found.url is None:
            yield f"Network: not needed, {name} lies in {place}."
            continue
        try:
            request = urllib.request.Request(found.url, method="HEAD")
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                yield f"Network: {place} answers."
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise InputError(
                f"Found no answer of {found.url} ({error}), expected the plates of {name} there. "
                f"Check the network, name a folder that holds them in assays.{name}.archives, or "
                "make article-small, which needs none."
            ) from error
    if not names:
        yield "Network: not needed, nothing is left to fetch."
