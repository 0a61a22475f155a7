"""make article: its plan, its dry run with either profile, and the list of items of the article."""

import re
import subprocess
import sys

import pytest
import torch
import yaml

from analysis.plan.costs import Cost
from analysis.plan.jobs import Job, planned_jobs
from analysis.plan.readiness import archives_found, device_found, disk_found
from analysis.run.rates import Machine
from analysis.run.values import read_config
from rls.runtime.errors import InputError
from tests.conftest import ROOT

pytestmark = pytest.mark.workflow

ARTICLE = [ROOT / "config" / "article.yaml"]
SMALL = [*ARTICLE, ROOT / "config" / "article_small.yaml"]
PAGE = ROOT / "docs" / "article.md"


def items():
    """The rows of the table of items, as dictionaries."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head[:3] == ["item", "target", "file"]
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("configs", [ARTICLE, SMALL])
def test_every_item_of_the_article_is_made_by_the_target_that_the_page_names(configs, tmp_path):
    targets = sorted({item["target"] for item in items()})
    first = read_config(configs)["run"]["assays"][0]
    named = [first if target == "bbbc021" else target for target in targets]
    jobs = planned_jobs(configs, tmp_path, named)
    for item in items():
        path = item["file"].replace("/bbbc021/", f"/{first}/")
        made = [job for job in jobs if path in job.outputs]
        assert len(made) == 1, item
        if item["target"] != "bbbc021":
            assert made[0].rule == item["target"], item


def test_the_page_names_every_table_and_figure_of_the_article():
    text = " ".join(item["item"] for item in items())
    for n in range(1, 9):
        assert f"Fig. {n}" in text
    for name in ("Table 1", "Table 2", "Fig. 5a", "Fig. 5b"):
        assert name in text


def test_every_item_has_a_number_of_ours_or_a_reason():
    for item in items():
        ours = item["ours"]
        assert ours and all(item.values()), item
        assert re.search(r"\[a\]|\]\([\w./#-]+\)|PSNR", ours), item


def test_the_small_article_leaves_nothing_out():
    large, small = read_config(ARTICLE), read_config(SMALL)
    for key in ("degradations", "methods", "degraded_methods", "also"):
        assert small["run"][key] == large["run"][key], key
    assert len(small["run"]["assays"]) == len(large["run"]["assays"]) == 3
    assert not {"bbbc021"} & set(small["run"]["assays"])
    assert small["solutions"] == large["solutions"]
    assert small["figures"]["ablations"] == large["figures"]["ablations"]
    for assay in small["run"]["assays"]:
        block = small["assays"][assay]
        assert block["simulated"] and "small" in block["title"]
        assert {block["image_size"] // factor for factor in block["factors"]} <= {4, 8}
        own = block["settings"].get("select_cells", {})
        assert own.get("cells_evaluation", small["select_cells"]["cells_evaluation"]) >= 40


def test_the_generators_of_the_small_article_have_not_seen_its_plates():
    small = read_config(SMALL)
    chains = yaml.safe_load((ROOT / "models" / "models.yaml").read_text())
    for name in ("translocation_32px", "golgi_64px"):
        assay = chains[name]["assay"]
        assert small["assays"][assay]["generator"] == f"models/{name}"
        trained = read_config([ROOT / path for path in chains[name]["configfiles"]])
        plates = small["assays"][assay]["plates"]
        assert not set(plates) & set(trained["assays"][assay]["plates"])


def make(*words):
    """Run make with this Python in place of .venv."""
    command = ["make", "-o", ".venv/installed", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["article"], "plates of bbbc021"),
        (["article", "PROFILE=workflow/profiles/slurm"], "at most 100 jobs at a time"),
        (["article-small"], "cores, if nothing else runs there"),
    ],
)
def test_the_plan_and_the_dry_run_of_the_article(words, said, tmp_path):
    done = make(*words, "DRY_RUN=1", f"FOLDER={tmp_path / 'run'}")  # not a run that is under way
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert said in text and "Elapsed time: about" in text
    for rule in ("train_gan", "path_lengths", "figure8", "solutions", "tradeoff", "report"):
        assert re.search(rf"^{rule} +\d", text, re.M), rule
    fetched = "fetch_plate" in text
    assert fetched == (words[0] == "article")


def preflight(*words):
    command = [sys.executable, "-m", "analysis.preflight", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL
    )


def test_without_a_terminal_and_without_a_yes_nothing_starts(tmp_path):
    words = ("--configfile", ROOT / "config/smoke.yaml", "--directory", tmp_path / "run")
    done = preflight(*words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: Found no terminal to ask on" in done.stderr and "YES=1" in done.stderr
    for line in ("Device: ", "Disk: ", "Network: not needed", "Elapsed time: about"):
        assert line in done.stdout
    assert preflight(*words, "--yes").returncode == 0
    assert not (tmp_path / "run").exists()


def test_a_profile_that_is_not_there_is_named(tmp_path):
    done = preflight("--directory", tmp_path, "--profile", tmp_path / "slrum")
    assert done.returncode == 1 and "error: Found no profile" in done.stderr


def test_archives_that_do_not_answer_stop_the_article_before_its_first_job(tmp_path):
    config = read_config(ARTICLE)
    jobs = [Job("fetch_plate", {"assay": "bbbc021"}), Job("crop_cells", {"assay": "bbbc021"})]
    config["assays"]["bbbc021"]["archives"] = "http://127.0.0.1:9/BBBC021"
    with pytest.raises(InputError, match="no answer of http://127.0.0.1:9/BBBC021/BBBC021_v1_ima"):
        list(archives_found(config, jobs))
    config["assays"]["bbbc021"]["archives"] = str(tmp_path)
    with pytest.raises(InputError, match="Found no BBBC021_v1_image.csv"):
        list(archives_found(config, jobs))
    (tmp_path / "BBBC021_v1_image.csv").touch()
    assert "not needed" in " ".join(archives_found(config, jobs))
    assert "nothing is left" in " ".join(archives_found(config, jobs[1:]))


def test_a_run_that_does_not_fit_the_disk_is_refused(tmp_path):
    costs = {"super_resolve": Cost(disk_mb=2.0)}
    assert "Disk: 0.0 GB needed" in disk_found(tmp_path / "not" / "made", costs)
    with pytest.raises(InputError, match="GB free in .*, expected 1200000.0 GB for this run"):
        disk_found(tmp_path, {"super_resolve": Cost(disk_mb=1e9)})


def test_the_device_that_is_found_is_held_against_the_plan():
    if torch.cuda.is_available():
        pytest.skip("says what stands where there is no GPU")
    config = {"device": "auto"}
    card = Machine.read(device="cuda")
    found = device_found(config, card, cluster=False)
    assert f"take longer than the plan above, which is for {card.gpu.machine}." in found
    found = device_found(config, Machine.read(device="cpu"), cluster=False)
    assert found.endswith("the plan above is for them.")
    with pytest.raises(InputError, match="expected one by device: cuda"):
        device_found({"device": "cuda"}, Machine.read(device="cuda"), cluster=False)
