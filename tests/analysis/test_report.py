"""The report: everything inside one file, nothing unsaid, nothing that data could break."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from analysis import headline
from analysis.comparison import headline as numbers
from analysis.comparison.design import WELL_CONFOUNDED
from analysis.comparison.long_table import estimate_of, long_row, long_table
from analysis.report import __main__ as report
from analysis.report import facts, html, sections
from analysis.run.description import Training
from rls.io import write_table, write_weights
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel
from tests.analysis import made_up

NAMES = ("figure1", "figure2", "figure3", "figure5")
TABLES = ("table1", "table2", "features")
METHODS = ("bicubic", "rls", "my_search")


def comparison(root):
    return next(made_up.run_of(root, METHODS).comparisons())


def write_run(root, *, split_by="well"):
    """Write what the report reads: tables, figures, selection, benchmarks; return its arguments."""
    at = comparison(root)
    methods = ("low_resolution", *METHODS, "high_resolution")
    first, second, fifth, kept = [], [], [], []
    for rank, method in enumerate(methods):
        value = 0.5 + rank / 10
        fact = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 6, "unit": "well"}
        second.append(long_row(at, method, "accuracy_chosen", **fact))
        if method == "low_resolution":
            first.append(long_row(at, method, "psnr_db", reason="another grid"))
            continue
        first.append(long_row(at, method, "psnr_db", **fact))
        first.append(long_row(at, method, "lpips_vgg16", reason="no VGG weights"))
        for side, treatment in enumerate(made_up.CONTROLS):
            fifth.append(long_row(at, method, "median", treatment=treatment,
                                  **{**fact, "value": value + side}))  # fmt: skip
        if method != "high_resolution":
            several = {"n_solutions": 4 if method == "my_search" else 1}
            for metric in ("shift_kept", "sd_ratio", "correlation_within_treatment"):
                fifth.append(long_row(at, method, metric, **fact))
                kept.append({**fifth[-1], **several})
                if method == "my_search":
                    image = {**fact, "value": value + 0.3}
                    kept.append({**long_row(at, method, f"one_image_{metric}", **image),
                                 "n_solutions": 1})  # fmt: skip
            n_cells = {"value": 60 - rank, "n": 60 - rank, "unit": "cell"}
            kept.append({**long_row(at, method, "cells_in_both", **n_cells), **several})
    fifth, kept = ([{**row, "feature": "nucleocytoplasmic_ratio"} for row in part]
                   for part in (fifth, kept))  # fmt: skip
    for name, rows in (("tables/table1", first), ("tables/table2", second),
                       ("tables/features", kept), ("figures/figure5", fifth)):  # fmt: skip
        write_table(root / f"{name}.csv", long_table(rows), written_by="test")
    for rank, name in enumerate(NAMES):
        (root / "figures").mkdir(exist_ok=True)
        Image.new("RGB", (40 + rank, 20), "red").save(root / "figures" / f"{name}.png")
    made_up.write_selection(root, split_by=split_by)
    benchmarks = root / "benchmarks" / "train_gan"
    benchmarks.mkdir(parents=True)
    benchmarks.joinpath("a.tsv").write_text("s\th:m:s\tmax_rss\n3700.0\t1:01:40\t1200.5\n")
    return [
        *("--run", str(made_up.write_run(root, METHODS))),
        *(
            "--tables",
            *(str(root / "tables" / f"{n}.csv") for n in ("table1", "table2", "features")),
        ),
        *("--figures", *(str(root / "figures" / f"{name}.png") for name in NAMES)),
        *("--benchmarks", str(root / "benchmarks"), "--output", str(root / "report.html")),
    ]


def page_of(root, **facts_of_run):
    report.main(write_run(root, **facts_of_run))
    return (root / "report.html").read_text()


def test_every_figure_is_inside_the_page_and_nothing_is_fetched(tmp_path, capsys):
    page = page_of(tmp_path)
    assert capsys.readouterr().out == "done\n"
    sources = re.findall(r'<img[^>]* src="([^"]*)"', page)
    assert len(sources) == len(NAMES) + 2  # and a strip of flagged, one of other cells
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r'(src|href)="(https?:)?//', page) and "<script" not in page
    assert "url(" not in page and "@import" not in page
    for name in NAMES:
        assert f'id="{name}"' in page


def test_the_page_says_simulated_what_ran_and_what_may_not_be_claimed(tmp_path):
    page = page_of(tmp_path)
    for text in (
        "Translocation (simulated)", "cannot show that it works on biology", "data processing",
        "my search", "1 h 01 min", "torch 2", "No two splits share a well.", "cells as units",
    ):  # fmt: skip
        assert text in page, text
    assert "{" not in re.sub(r"<style>.*</style>", "", page.split("Where each file")[0], flags=re.S)


def test_every_method_has_a_row_in_every_table_with_its_interval(tmp_path):
    page = page_of(tmp_path)
    tables = page[page.index('id="tables"') :]
    for name in ("table1", "table2"):
        part = tables[tables.index(f'id="{name}"') :]
        for method in ("Bicubic", "RLS", "my search", "LR", "HR"):
            assert f"<td>{method}</td>" in part[: part.index("</table>")], (name, method)
    assert re.search(r'[\d.]+ <span class="interval">\[[\d.]+, [\d.]+\]</span>', tables)
    assert "LPIPS (VGG16) ↓ is empty: no VGG weights." in tables
    assert "(1) another grid." in tables


def test_reasons_of_skipped_fields_are_shown_and_escaped(tmp_path):
    page = page_of(tmp_path)
    assert "out of focus &lt;blur &amp; haze&gt;" in page and "<blur" not in page


def test_blocks_of_one_field_draw_the_warning_that_class_and_well_are_one(tmp_path):
    assert sections.TILE[:60] in html.escape(page_of(tmp_path / "a", split_by="tile"))
    assert "Class and well cannot be told apart" not in page_of(tmp_path / "b")


def test_a_run_without_its_generator_says_so(tmp_path):
    assert "no generator at" in page_of(tmp_path)


def test_a_figure_that_is_missing_stops_the_report(tmp_path):
    arguments = write_run(tmp_path)
    (tmp_path / "figures" / "figure3.png").unlink()
    with pytest.raises(InputError, match=r"figure3\.png"):
        report.main(arguments)
    assert not (tmp_path / "report.html").exists()


def test_every_table_and_figure_has_its_caption():
    for name in (*NAMES, "table1", "table2"):
        text = sections.caption(name)
        assert len(text) > 200 and "**" not in text and "``" not in text
    with pytest.raises(InputError, match="figure9"):
        sections.caption("figure9")


def test_captions_are_plain_and_safe():
    assert html.restructured("**a** <b> ``c_d``\n\n*e*") == (
        "<b>a</b> &lt;b&gt; <code>c_d</code><br><i>e</i>"
    )


def test_job_times_add_up_by_rule(tmp_path):
    folder = tmp_path / "super_resolve"
    folder.mkdir()
    for shard in range(3):
        (folder / f"{shard}.tsv").write_text("s\tmax_rss\n10.0\t-\n")
    (tmp_path / "table1.tsv").write_text("s\tmax_rss\n2.5\t50\n")
    times = facts.job_times(tmp_path).set_index("rule")
    assert times.loc["super_resolve", "jobs"] == 3
    assert times.loc["super_resolve", "seconds"] == pytest.approx(30.0)
    assert times.loc["table1", "max_rss_mb"] == 50
    assert facts.job_times(None).empty
    assert [facts.readable_time(s) for s in (12, 200, 7500)] == ["12 s", "3 min 20 s", "2 h 05 min"]


def test_the_share_of_treated_cells_in_the_prior_is_counted(tmp_path):
    made_up.write_selection(tmp_path)
    found = facts.read_selection(tmp_path, comparison(tmp_path).assay)
    assert facts.treated_share(found, made_up.CONTROLS[0]) == pytest.approx(0.5)
    assert list(found.skipped["fields"]) == [1]


def test_the_treated_share_of_training_cells_is_said_where_the_run_trained_the_generator(tmp_path):
    made_up.write_selection(tmp_path)
    run = made_up.run_of(tmp_path, METHODS)
    for training, n in ((None, 0), (Training(100, 0.5, 1, ""), 1)):
        assays = (dataclasses.replace(run.assays[0], training=training),)
        sources = SimpleNamespace(run=dataclasses.replace(run, assays=assays))
        assert sections.selection(sources).count("of the generator&#x27;s training cells") == n


def test_devices_are_those_that_the_logs_name(tmp_path):
    (tmp_path / "a.log").write_text("x\ndevice: cpu (2 threads)\n")
    (tmp_path / "b.log").write_text("device: cuda (H200, 139 GiB)\n")
    assert facts.devices(tmp_path) == "cpu (2 threads); cuda (H200, 139 GiB)"


def test_the_headline_has_what_was_made_where_it_is_and_a_row_for_every_method(tmp_path, capsys):
    page_of(tmp_path)
    capsys.readouterr()
    headline.main(["--results", str(tmp_path), "--report", str(tmp_path / "report.html")])
    lines = capsys.readouterr().out.splitlines()
    assert "(simulated)" in lines[0] and "my_search" in lines[0]
    assert lines[1].endswith("report.html")
    assert lines[3].startswith("translocation (simulated), 8x, bicubic: nucleocytoplasmic ratio")
    assert "in HR DMSO 0.90, TNF-alpha 1.90; intervals over 6 wells" in lines[3]
    table = [[text.strip() for text in line.split("|")[1:-1]] for line in lines[5:]]
    heading = ["", "shift kept", "sd ratio", "r within", "accuracy, %", "cells"]
    assert table[0] == heading and set("".join(table[1])) == {"-"}
    same = ["0.80 [0.70, 0.90]"] * 3
    assert [row[0] for row in table[2:]] == [
        "LR", "Bicubic", "RLS", "my search (mean of 4)", "my search (one image)", "HR"
    ]  # fmt: skip
    assert table[2][1:] == ["", "", "", "50 [40, 60]", ""]
    # The number is the mean's, and the classifier looks at the image.
    assert table[5][1:] == [*same, "", "57"]
    assert table[6][1:] == ["1.10 [0.70, 0.90]"] * 3 + ["80 [70, 90]", "57"]
    assert table[7][1:] == ["", "", "", "90 [80, 100]", ""]


def test_the_report_begins_with_the_headline_tables(tmp_path):
    page = page_of(tmp_path)
    part = page[page.index('id="headline"') : page.index('id="run"')]
    assert "in HR DMSO 0.90, TNF-alpha 1.90" in part and "my search (one image)" in part
    assert 'my search (mean of 4)</td><td class="number">0.80 <span class="interval">' in part


def test_table_2_has_the_articles_form_and_the_warnings_of_its_design(tmp_path):
    arguments = write_run(tmp_path)
    report.main(arguments)
    page = (tmp_path / "report.html").read_text()
    form = page[page.index("Table 2 in the article") :]
    assert "DMSO vs TNF-alpha (8x)" in form and 'class="warning"' not in form
    path = tmp_path / "tables" / "table2.csv"
    at = comparison(tmp_path)
    reason = "DMSO has 1 well <B02>"
    row = long_row(at, "high_resolution", WELL_CONFOUNDED, value=1.0, reason=reason)
    write_table(path, pd.concat([pd.read_csv(path), long_table([row])]), written_by="test")
    report.main(arguments)
    page = (tmp_path / "report.html").read_text()
    assert '<p class="warning">DMSO has 1 well &lt;B02&gt;.</p>' in page


def test_the_headline_needs_its_report_and_a_method(tmp_path):
    page_of(tmp_path)
    with pytest.raises(InputError, match=r"other\.html"):
        numbers.lines(tmp_path, tmp_path / "other.html")
    tables = [numbers.read_long(tmp_path / name) for name in
              ("figures/figure5.csv", "tables/features.csv", "tables/table2.csv")]  # fmt: skip
    bare = [table[table["method"].isin(["low_resolution", "high_resolution"])] for table in tables]
    with pytest.raises(InputError, match="no method"):
        numbers.headline_tables(*bare)
    assert np.isnan(estimate_of(long_table([]), "a", "b").value)


def test_flags_are_counted_and_shown_with_what_they_mean(tmp_path):
    page = page_of(tmp_path)
    part = page[page.index('id="quality"') : page.index('id="generators"')]
    assert "Quality flags of 9 crops" in part
    row = re.search(r"<tr><td>noise</td>.*?</tr>", part).group()
    assert "<td>yes</td>" in row and row.endswith('<td class="number">3</td></tr>')
    strips = re.findall(r'base64,([^"]*)" alt="([^"]*)"', part)
    assert [text.split(":")[0] for _, text in strips] == ["noise", "none"]
    widths = [Image.open(io.BytesIO(base64.b64decode(data))).width for data, _ in strips]
    assert widths == [3 * 83 - 3, 6 * 83 - 3]  # 20 px four times enlarged, with gaps


def test_networks_trained_on_generated_pairs_say_what_they_learnt(tmp_path):
    settings = {"n_pairs": 20000, "n_held_out": 1000, "epochs": 12}
    shared = {"forward": ForwardModel().to_text(), "best_epoch": 11, "settings": settings}
    r = {"nucleocytoplasmic_ratio": 0.671, "area_um2": None}
    encoder, regression = (tmp_path / f"{name}.safetensors" for name in ("encoder", "amortised"))
    header = {"kind": "encoder", "chain": ["gaussian_noise:0.1"], "explained_variance": 0.364}
    write_weights(encoder, {"w": torch.zeros(1)}, {**header, **shared})
    header = {"kind": "amortised", "chain": [["gaussian_blur", 1.0]], "r_held_out": r}
    write_weights(regression, {"w": torch.zeros(1)}, {**header, **shared})
    arguments = write_run(tmp_path)
    report.main([*arguments, "--on-pairs", str(encoder), str(regression)])
    page = (tmp_path / "report.html").read_text()
    for said in (
        "the mean explains 36 % of the variance of styles (n = 1,000)",
        "nucleocytoplasmic ratio r 0.67 (n = 1,000)", "20,000", "11 of 12",
        "gaussian_noise:0.1", "gaussian_blur:1", "nothing about real cells",
    ):  # fmt: skip
        assert said in page, said
    report.main(arguments)
    page = (tmp_path / "report.html").read_text()
    assert "Networks trained on generated pairs" not in page
