"""Names of people through a run of Snakemake: what it is told is what its jobs are told."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from rls.io import read_table
from tests.conftest import ROOT

pytestmark = pytest.mark.workflow

TREATMENTS = [
    *("-DOX", "+DOX", "--sheet", "a 'b' \"c\"", "{wildcards.plate} {{x}} {", "$HOME; ls \\ `id`"),
    *("TNF-\u03b1 \u9634\u6027", "50% & | > out", "[1, 2]", "siRELA #1", "#2"),
]
CHANNELS = ["-dna {x}", "\u03b1 'p' $HOME;"]


def configuration(folder, treatments=TREATMENTS, channels=CHANNELS):
    """Write an assay of one field for each treatment; return its YAML."""
    table = pd.DataFrame({"treatment": treatments})
    table["plate"], table["site"] = "P1", 1
    table["well"] = [f"B{number + 2:02d}" for number in range(len(table))]
    random = np.random.default_rng(0)
    for index, channel in enumerate(channels):
        table[f"path_{channel}"] = [f"{well}_{index}.tif" for well in table["well"]]
        for name in table[f"path_{channel}"]:
            tifffile.imwrite(folder / name, random.integers(0, 4096, (64, 64)).astype(np.uint16))
    table.assign(pixel_size_um=1.0, bit_depth=12).to_csv(folder / "sheet.csv", index=False)
    assay = {
        "title": "Mine", "simulated": False, "source": "sheet", "sheet": str(folder / "sheet.csv"),
        "plates": ["P1"], "channels": list(channels), "nucleus_channel": channels[0],
        "marker_channel": channels[1], "treatments": list(treatments), "generator": "none",
        "negative_control": treatments[0], "positive_control": treatments[1], "image_size": 32,
        "crop_size": 40, "pixel_size_um": 1.0, "bit_depth": 12,
        "features": ["nucleocytoplasmic_ratio"],
    }  # fmt: skip
    run = {"assays": ["mine"], "factors": [8], "degradations": ["clean"], "methods": ["bicubic"]}
    text = yaml.safe_dump({"run": {**run, "shards": 1}, "assays": {"mine": assay}})
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


def snakemake(folder, config, *more):
    command = [
        *(
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--cores",
            "1",
        ),
        *("--workflow-profile", str(ROOT / "workflow/profiles/local"), "--configfile", str(config)),
        *("--directory", str(folder / "run"), *more, "--", "results/mine/plates/P1.sheet.csv"),
    ]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def test_names_of_any_kind_reach_the_command_of_a_rule(tmp_path):
    done = snakemake(tmp_path, configuration(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    listed = read_table(tmp_path / "run" / "results" / "mine" / "plates" / "P1.sheet.csv")
    assert sorted(listed["treatment"]) == sorted(TREATMENTS)
    assert {f"path_{channel}" for channel in CHANNELS} <= set(listed.columns)
    assert not (tmp_path / "run" / "out").exists() and not (ROOT / "out").exists()


def test_a_block_given_twice_in_an_overlay_is_refused_before_any_job(tmp_path):
    config = configuration(tmp_path, ("DMSO", "TNF"), ("dna", "nfkb"))
    config.write_text(config.read_text() + "tables: {}\ntables: {}\n")
    done = snakemake(tmp_path, config, "--dry-run")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert "mine.yaml gives the key 'tables' twice, in lines " in said
    assert not (tmp_path / "run" / "results").exists()
