# Tables, figures and the report. All read results/run.json, which says what runs.


rule describe_assays:
    output:
        "results/run.json",
    log:
        "logs/describe_assays.log",
    benchmark:
        "benchmarks/describe_assays.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("describe_assays"),
    params:
        description=files.run.to_json(indent=None).strip(),
    shell:
        "python -m analysis.describe_assays --description {params.description:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Name of the rule -> its command, what it reads, and the flags of its settings. One loop makes the
# rules of all tables but Tables 1 and 2, which have two outputs.
MEASURED = {"measured": files.measured(), "cells": files.measured_cells()}
TABLES = {
    "table_features": ("features", MEASURED, arguments.section("tables")),
    "mechanism": (
        "mechanism",
        {
            "measured": files.measured(clean_only=True),
            "stacks": files.stacks(clean_only=True),
        },
        arguments.section("mechanism"),
    ),
    "choices": ("choices", {"traces": files.traces()}, arguments.choices),
    "solutions": (
        "solutions",
        {
            "solutions": files.solutions(".features.parquet"),
            "searches": files.searched_solutions(),
            "features": files.features_beside_solutions(),
        },
        arguments.section("solutions"),
    ),
    "table_generators": (
        "generators",
        {"features": kept_features(files), "generators": generators(files)},
        "tables",
    ),
}

for rule_name, (table, read, settings) in TABLES.items():

    rule:
        name:
            rule_name
        input:
            **read,
            code=sources(f"analysis.tables.{table}"),
            run="results/run.json",
        output:
            report(
                f"results/tables/{table}.csv",
                caption=f"../report/{table}.rst",
                category="Tables",
            ),
        log:
            f"logs/{rule_name}.log",
        benchmark:
            f"benchmarks/{rule_name}.tsv"
        conda:
            "../../environment.yml"
        resources:
            **asks(rule_name),
        params:
            command=f"analysis.tables.{table}",
            settings=settings,
        shell:
            "python -m {params.command} --run {input.run:q} --output-csv {output:q}"
            " {params.settings:q} 2>&1 | tee {log:q}"


# Tables 1 and 2 are also written in the form that the article prints.
ARTICLE_TABLES = {
    "table1": MEASURED,
    "table2": {
        "cells": files.measured_cells(),
        "measured": files.measured(clean_only=True),
    },
}

for rule_name, read in ARTICLE_TABLES.items():

    rule:
        name:
            rule_name
        input:
            **read,
            code=sources(f"analysis.tables.{rule_name}"),
            run="results/run.json",
        output:
            long=report(
                f"results/tables/{rule_name}.csv",
                caption=f"../report/{rule_name}.rst",
                category="Tables",
            ),
            article=f"results/tables/{rule_name}_article.csv",
        log:
            f"logs/{rule_name}.log",
        benchmark:
            f"benchmarks/{rule_name}.tsv"
        conda:
            "../../environment.yml"
        resources:
            **asks(rule_name),
        params:
            command=f"analysis.tables.{rule_name}",
            settings=arguments.section("tables"),
        shell:
            "python -m {params.command} --run {input.run:q} --output-csv {output.long:q}"
            " --output-article {output.article:q} {params.settings:q} 2>&1 | tee {log:q}"


# Name of the rule -> its command, what it reads, and which of these files flags hand over; the others
# are found through run.json. One loop makes the rules of all figures.
MODEL = {
    name: files.model_file(norms_assay(config), f"{name}.safetensors")
    for name in ("generator", "styles", "flow")
}
TABLE1, FEATURES = "results/tables/table1.csv", "results/tables/features.csv"
GENERATORS = {"generators": "results/tables/generators.csv"}
IMAGES = {"stacks": files.stacks(clean_only=True)}
FIGURES = {
    "figure1": ("figure1", MODEL, ("generator", "styles", "flow")),
    "figure2": ("figure2", IMAGES, ()),
    "figure3": ("figure3", IMAGES, ()),
    "figure4": ("figure4", IMAGES, ()),
    "figure5": (
        "figure5",
        {"features": FEATURES, "measured": files.measured(clean_only=True)},
        ("features",),
    ),
    "figure_scatter": (
        "scatter",
        {"features": FEATURES, "measured": files.measured(clean_only=True)},
        ("features",),
    ),
    "figure6": (
        "figure6",
        {
            "table1": TABLE1,
            "features": FEATURES,
            "measured": files.measured(),
            "stacks": files.stacks(),
        },
        ("table1", "features"),
    ),
    "figure7": (
        "figure7",
        {"table1": TABLE1, "features": FEATURES, **IMAGES},
        ("table1", "features"),
    ),
    "figure8": (
        "figure8",
        {
            "table": "results/tables/solutions.csv",
            "solutions": files.solutions(".features.parquet"),
            "images": files.solutions(".ome.tif"),
            "features": files.features_beside_solutions(),
            "stacks": files.stacks_beside_solutions(),
        },
        ("table",),
    ),
    "where_lost": (
        "where_lost",
        {
            "features": FEATURES,
            "measured": files.measured(clean_only=True),
            "beside": beside_reconstructions(files.run, config),
        },
        ("features",),
    ),
    "sweep": ("sweep", {"sweeps": files.sweeps()}, ()),
    "tradeoff": ("tradeoff", {"sweeps": files.sweeps()}, ()),
    "figure_path_lengths": (
        "path_lengths",
        {"tables": files.path_lengths()},
        ("tables",),
    ),
    "starts": ("starts", {"traces": files.traces()}, ()),
    "figure_mechanism": (
        "mechanism",
        {"mechanism": "results/tables/mechanism.csv"},
        ("mechanism",),
    ),
    "data_or_prior": ("data_or_prior", GENERATORS, ("generators",)),
    "transfer": ("transfer", GENERATORS, ("generators",)),
    "priors": (
        "priors",
        {"generator": MODEL["generator"], "styles": MODEL["styles"], **files.priors()},
        ("generator", "styles"),
    ),
}

for rule_name, (figure, read, handed) in FIGURES.items():

    rule:
        name:
            rule_name
        input:
            **read,
            code=sources(f"analysis.figures.{figure}"),
            run="results/run.json",
        output:
            pdf=f"results/figures/{figure}.pdf",
            png=report(
                f"results/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="Figures",
            ),
            csv=f"results/figures/{figure}.csv",
        log:
            f"logs/{rule_name}.log",
        benchmark:
            f"benchmarks/{rule_name}.tsv"
        conda:
            "../../environment.yml"
        resources:
            **asks(rule_name),
        params:
            command=f"analysis.figures.{figure}",
            handed=given(*handed),
            settings=arguments.of_figure(rule_name),
        shell:
            "python -m {params.command} --run {input.run:q} {params.handed:q}"
            " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
            " {params.settings:q} 2>&1 | tee {log:q}"


rule report:
    input:
        code=[
            *sources("analysis.report"),
            f"{workflow.basedir}/analysis/report/page.html",
            *sorted(map(str, Path(workflow.basedir).glob("workflow/report/*.rst"))),
        ],
        run="results/run.json",
        tables=tables(files),
        figures=figures(files),
        scatter="results/figures/scatter.png",
        selections=files.of_assays("selection.csv"),
        thresholds=files.of_assays("thresholds.csv", classified=True),
        flags=files.of_assays("flags.csv"),
        flagged=files.of_assays("flagged.ome.tif"),
        flagged_tables=files.of_assays("flagged.parquet"),
        intensities=files.of_assays("intensity.json"),
        on_pairs=trained_on_pairs(files),
    output:
        "results/report.html",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("report"),
    params:
        generators=arguments.generators,
        on_pairs=given("on_pairs"),
    shell:
        "python -m analysis.report --run {input.run:q} {params.generators:q} {params.on_pairs:q} --logs logs"
        " --tables {input.tables:q} --figures {input.figures:q} {input.scatter:q}"
        " --benchmarks benchmarks --output {output:q} 2>&1 | tee {log:q}"
