# RLS, from plates to report. config/config.yaml says what runs; --configfile takes overlays.
from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"
configfile: f"{workflow.basedir}/config/bbbc021_plates.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/plates.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/rivals.smk"
include: "workflow/rules/encoder.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/reconstruct.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/ceiling.smk"
include: "workflow/rules/all_cells.smk"
include: "workflow/rules/acquired.smk"
include: "workflow/rules/solutions.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/trace.smk"
include: "workflow/rules/path_lengths.smk"
include: "workflow/rules/priors.smk"
include: "workflow/rules/trained.smk"
include: "workflow/rules/beside_real.smk"
include: "workflow/rules/export.smk"


# These rules run where Snakemake runs: they need the network, or take less time than a submission.
localrules:
    all,
    profiles,
    profiles_h5ad,
    zarr,
    fetch,
    fetch_metadata,
    fetch_plate,
    describe_assays,
    gather_trust,


rule all:
    default_target: True
    input:
        rules.report.output,


# Everything that comes over the network, cropped and selected. After it no job needs a network.
rule fetch:
    input:
        files.fetched_cells(),
    message:
        fetch_message(files)


# Profiles of cells and wells for other programs, as parquet or as AnnData (analysis/export_profiles.py).
rule profiles:
    input:
        files.of_assays("profiles/cells.parquet"),


rule profiles_h5ad:
    input:
        files.of_assays("profiles/cells.h5ad"),


# Cells and reconstructions for viewers, with the masks of their nuclei (analysis/export_zarr.py).
rule zarr:
    input:
        zarr_cells(files),


# Every assay is a target of its name, whether run.assays names it or not: snakemake golgi, ...
for assay in config["assays"]:

    rule:
        name:
            assay
        input:
            files.of_assay(assay),
        localrule: True
