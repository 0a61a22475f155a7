# Tables, figures, report. Each reads the files of every assay that runs.

# Fig. 4 shows the assays that measure the Golgi, Fig. 3 the others; the report has what there is.
GOLGI_ASSAYS = [
    assay for assay in RUN["assays"] if "golgi" in ASSAYS[assay]["features"]
]
FIGURES = [2, 5, 6]
# Fig. 7 sets ablations side by side.
FIGURES += (
    [7] if len(set(config["figures"]["ablations"]) & set(RUN["methods"])) > 1 else []
)
# Fig. 1 is of the first assay's styles, for which an assay without a search needs no generator.
FIGURES += [1] if ASSAYS[FIRST_ASSAY]["generator"] != "none" else []
FIGURES += [3] if len(GOLGI_ASSAYS) < len(RUN["assays"]) else []
FIGURES += [4] if GOLGI_ASSAYS else []


rule describe_assays:
    output:
        "results/assays.json",
    log:
        "logs/describe_assays.log",
    benchmark:
        "benchmarks/describe_assays.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=small_mb,
        runtime=short_runtime,
    params:
        assays=assay_descriptions(),
    shell:
        "python -m analysis.describe_assays --assays {params.assays:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


rule table1:
    input:
        code=code(
            "analysis/tables/*.py", "analysis/numbers/metrics.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        measured=all_results,
    output:
        report(
            "results/tables/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
        ),
    log:
        "logs/table1.log",
    benchmark:
        "benchmarks/table1.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(),
        settings=section("tables"),
    shell:
        "python -m analysis.tables.table1 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-csv {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule table2:
    input:
        code=code("analysis/tables/*.py", "analysis/numbers/statistics.py"),
        assays="results/assays.json",
        cells=measured_cells,
        measured=clean_results,
    output:
        long=report(
            "results/tables/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
        ),
        article="results/tables/table2_article.csv",
    log:
        "logs/table2.log",
    benchmark:
        "benchmarks/table2.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("tables"),
    shell:
        "python -m analysis.tables.table2 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-csv {output.long:q} --output-article {output.article:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule table_features:
    input:
        code=code(
            "analysis/numbers/agreement.py",
            "analysis/tables/*.py",
            "analysis/features/*.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        measured=all_results,
    output:
        report(
            "results/tables/features.csv",
            caption="../report/features.rst",
            category="Tables",
        ),
    log:
        "logs/table_features.log",
    benchmark:
        "benchmarks/table_features.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(),
        settings=section("tables"),
    shell:
        "python -m analysis.tables.features {params.inputs:q} --assays-config {input.assays:q}"
        " --output-csv {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule figure1:
    input:
        code=code("analysis/figures/*.py"),
        assays="results/assays.json",
        generator=model("generator.safetensors", FIRST_ASSAY),
        styles=model("styles.safetensors", FIRST_ASSAY),
        flow=model("flow.safetensors", FIRST_ASSAY),
    output:
        pdf="results/figures/figure1.pdf",
        png=report(
            "results/figures/figure1.png",
            caption="../report/figure1.rst",
            category="Figures",
        ),
        csv="results/figures/figure1.csv",
    log:
        "logs/figure1.log",
    benchmark:
        "benchmarks/figure1.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=styles_mb,
        runtime=short_runtime,
    params:
        assay=FIRST_ASSAY,
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure1 --assay {params.assay:q}"
        " --assays-config {input.assays:q} --generator {input.generator:q}"
        " --styles {input.styles:q} --flow {input.flow:q} --output-pdf {output.pdf:q}"
        " --output-png {output.png:q} --output-csv {output.csv:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"


rule figure2:
    input:
        code=code(
            "analysis/figures/*.py", "analysis/tables/*.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        stacks=clean_stacks,
    output:
        pdf="results/figures/figure2.pdf",
        png=report(
            "results/figures/figure2.png",
            caption="../report/figure2.rst",
            category="Figures",
        ),
        csv="results/figures/figure2.csv",
    log:
        "logs/figure2.log",
    benchmark:
        "benchmarks/figure2.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure2 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure3:
    input:
        code=code(
            "analysis/figures/*.py", "analysis/tables/*.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        stacks=clean_stacks,
    output:
        pdf="results/figures/figure3.pdf",
        png=report(
            "results/figures/figure3.png",
            caption="../report/figure3.rst",
            category="Figures",
        ),
        csv="results/figures/figure3.csv",
    log:
        "logs/figure3.log",
    benchmark:
        "benchmarks/figure3.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure3 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure4:
    input:
        code=code(
            "analysis/figures/*.py", "analysis/tables/*.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        stacks=clean_stacks,
    output:
        pdf="results/figures/figure4.pdf",
        png=report(
            "results/figures/figure4.png",
            caption="../report/figure4.rst",
            category="Figures",
        ),
        csv="results/figures/figure4.csv",
    log:
        "logs/figure4.log",
    benchmark:
        "benchmarks/figure4.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure4 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure5:
    input:
        code=code(
            "analysis/numbers/agreement.py",
            "analysis/figures/*.py",
            "analysis/tables/*.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        measured=clean_results,
    output:
        pdf="results/figures/figure5.pdf",
        png=report(
            "results/figures/figure5.png",
            caption="../report/figure5.rst",
            category="Figures",
        ),
        csv="results/figures/figure5.csv",
    log:
        "logs/figure5.log",
    benchmark:
        "benchmarks/figure5.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure5 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure_scatter:
    input:
        code=code(
            "analysis/numbers/agreement.py",
            "analysis/figures/*.py",
            "analysis/tables/*.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        measured=clean_results,
    output:
        pdf="results/figures/scatter.pdf",
        png=report(
            "results/figures/scatter.png",
            caption="../report/scatter.rst",
            category="Figures",
        ),
        csv="results/figures/scatter.csv",
    log:
        "logs/figure_scatter.log",
    benchmark:
        "benchmarks/figure_scatter.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.scatter {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure6:
    input:
        code=code(
            "analysis/numbers/agreement.py",
            "analysis/figures/*.py",
            "analysis/tables/*.py",
            "analysis/numbers/metrics.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        measured=all_results,
        stacks=all_stacks,
    output:
        pdf="results/figures/figure6.pdf",
        png=report(
            "results/figures/figure6.png",
            caption="../report/figure6.rst",
            category="Figures",
        ),
        csv="results/figures/figure6.csv",
    log:
        "logs/figure6.log",
    benchmark:
        "benchmarks/figure6.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure6 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule figure7:
    input:
        code=code(
            "analysis/numbers/agreement.py",
            "analysis/figures/*.py",
            "analysis/tables/*.py",
            "analysis/numbers/metrics.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        measured=clean_results,
        stacks=clean_stacks,
    output:
        pdf="results/figures/figure7.pdf",
        png=report(
            "results/figures/figure7.png",
            caption="../report/figure7.rst",
            category="Figures",
        ),
        csv="results/figures/figure7.csv",
    log:
        "logs/figure7.log",
    benchmark:
        "benchmarks/figure7.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        settings=section("figures"),
    shell:
        "python -m analysis.figures.figure7 {params.inputs:q} --assays-config {input.assays:q}"
        " --output-pdf {output.pdf:q} --output-png {output.png:q} --output-csv {output.csv:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule report:
    input:
        code=code(
            "analysis/report/*",
            "analysis/tables/*.py",
            "analysis/drawing/style.py",
            "workflow/report/*.rst",
        ),
        assays="results/assays.json",
        tables=expand(
            "results/tables/{name}.csv", name=["table1", "table2", "features"]
        ),
        figures=expand("results/figures/figure{number}.png", number=sorted(FIGURES)),
        scatter="results/figures/scatter.png",
        selections=of_assays("selection.csv"),
        thresholds=[
            f"results/{assay}/thresholds.csv"
            for assay in RUN["assays"]
            if ASSAYS[assay].get("resolution", "high") == "high"
        ],
        flags=of_assays("flags.csv"),
        flagged=of_assays("flagged.ome.tif"),
        flagged_tables=of_assays("flagged.parquet"),
        intensities=of_assays("intensity.json"),
    output:
        "results/report.html",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=small_mb,
        runtime=short_runtime,
    params:
        inputs=comparison_flags(),
        generators=generator_flags,
    shell:
        "python -m analysis.report {params.inputs:q} --assays-config {input.assays:q}"
        " --run-config {input.assays:q} {params.generators:q} --logs logs"
        " --tables {input.tables:q} --figures {input.figures:q} {input.scatter:q} --benchmarks benchmarks"
        " --output {output:q} 2>&1 | tee {log:q}"
