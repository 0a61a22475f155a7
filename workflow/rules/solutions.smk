# Several solutions an image (article, section 4.5): sampled, measured, judged, drawn (Fig. 8).
# Only images of the first degradation have solutions.


rule sample_solutions:
    input:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=scale,
        model=search_model,
        network=[],
    output:
        stack="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.parquet",
        latents="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.latents.safetensors",
    log:
        "logs/sample_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.log",
    benchmark:
        "benchmarks/sample_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.tsv"
    wildcard_constraints:
        kind="|".join(KINDS),
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=search_mb,
        runtime=solutions_runtime,
    params:
        model=search_model_flags,
        settings=section("sample_solutions"),
        method=method_flags,
    shell:
        "python -m rls.sample_solutions --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.model:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --kind {wildcards.kind} --output {output.stack:q}"
        " --state state {params.settings:q} {params.method:q} 2>&1 | tee {log:q}"


rule measure_solutions:
    input:
        code=code(
            "analysis/measure_solutions.py",
            "analysis/measuring/*.py",
            "analysis/features/*.py",
        ),
        stack="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.parquet",
        intensity=scale,
    output:
        "results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.features.parquet",
    log:
        "logs/measure_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.log",
    benchmark:
        "benchmarks/measure_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.tsv"
    wildcard_constraints:
        kind="|".join(KINDS),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        nucleus_channel=assay_value("nucleus_channel"),
        marker_channel=assay_value("marker_channel"),
        features=assay_value("features"),
        settings=section("measure"),
    shell:
        "python -m analysis.measure_solutions --stack {input.stack:q}"
        " --intensity {input.intensity:q} --nucleus-channel {params.nucleus_channel:q}"
        " --marker-channel {params.marker_channel:q} --features {params.features:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule solutions:
    input:
        code=code(
            "analysis/tables/*.py", "analysis/numbers/conformal.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        solutions=solutions_of(".features.parquet"),
        features=features_beside_solutions,
    output:
        report(
            "results/tables/solutions.csv",
            caption="../report/solutions.rst",
            category="Tables",
        ),
    log:
        "logs/solutions.log",
    benchmark:
        "benchmarks/solutions.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(),
        settings=section("solutions"),
    shell:
        "python -m analysis.tables.solutions {params.inputs:q} --assays-config {input.assays:q}"
        " --output-csv {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule figure8:
    input:
        code=code(
            "analysis/figures/*.py",
            "analysis/tables/*.py",
            "analysis/numbers/conformal.py",
            "analysis/numbers/statistics.py",
        ),
        assays="results/assays.json",
        table="results/tables/solutions.csv",
        solutions=solutions_of(".features.parquet"),
        images=solutions_of(".ome.tif"),
        features=features_beside_solutions,
        stacks=stacks_beside_solutions,
    output:
        pdf="results/figures/figure8.pdf",
        png=report(
            "results/figures/figure8.png",
            caption="../report/figure8.rst",
            category="Figures",
        ),
        csv="results/figures/figure8.csv",
    log:
        "logs/figure8.log",
    benchmark:
        "benchmarks/figure8.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(),
        settings=section("figures"),
        solutions=section("solutions"),
    shell:
        "python -m analysis.figures.figure8 {params.inputs:q} --assays-config {input.assays:q}"
        " --table {input.table:q} --output-pdf {output.pdf:q} --output-png {output.png:q}"
        " --output-csv {output.csv:q} {params.settings:q} {params.solutions:q}"
        " 2>&1 | tee {log:q}"
