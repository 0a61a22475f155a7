# The lambdas of Eq. 5, looked at on cells of split tune (article 4.1). Not part of "all".


rule sweep_lambdas:
    input:
        stack=clean_low_resolution,
        table=clean_low_resolution_table,
        intensity=model("intensity.json"),
        model=search_model,
    output:
        stack="results/{assay}/{factor}x/sweep/{method}.ome.tif",
        table="results/{assay}/{factor}x/sweep/{method}.parquet",
    log:
        "logs/sweep_lambdas/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/sweep_lambdas/{assay}_{factor}x_{method}.tsv"
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=search_mb,
        runtime=sweep_runtime,
    params:
        shared=section("super_resolve"),
        settings=section("sweep_lambdas"),
        method=method_flags,
    shell:
        "python -m rls.sweep_lambdas --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} --generator {input.model[0]:q}"
        " --styles {input.model[1]:q} --flow {input.model[2]:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --output {output.stack:q} --state state"
        " {params.shared:q} {params.settings:q} {params.method:q} 2>&1 | tee {log:q}"


rule measure_sweep:
    input:
        code=code(
            "analysis/measure_sweep.py",
            "analysis/measuring/*.py",
            "analysis/numbers/metrics.py",
            "analysis/features/*.py",
        ),
        stack="results/{assay}/{factor}x/sweep/{method}.ome.tif",
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution=clean_low_resolution,
        intensity=model("intensity.json"),
    output:
        "results/{assay}/{factor}x/sweep/{method}.metrics.parquet",
    log:
        "logs/measure_sweep/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/measure_sweep/{assay}_{factor}x_{method}.tsv"
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
        "python -m analysis.measure_sweep --stack {input.stack:q}"
        " --high-resolution {input.high_resolution:q} --low-resolution {input.low_resolution:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor}"
        " --nucleus-channel {params.nucleus_channel:q} --marker-channel {params.marker_channel:q}"
        " --features {params.features:q} --output {output:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"


rule sweep:
    input:
        code=code(
            "analysis/figures/*.py", "analysis/tables/*.py", "analysis/numbers/statistics.py"
        ),
        assays="results/assays.json",
        sweeps=sweeps,
    output:
        pdf="results/figures/sweep.pdf",
        png=report(
            "results/figures/sweep.png",
            caption="../report/sweep.rst",
            category="Figures",
        ),
        csv="results/figures/sweep.csv",
    log:
        "logs/sweep.log",
    benchmark:
        "benchmarks/sweep.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=wide_mb,
        runtime=wide_runtime,
    params:
        inputs=comparison_flags(clean_only=True),
        method=SWEPT,
        settings=section("figures"),
    shell:
        "python -m analysis.figures.sweep {params.inputs:q} --assays-config {input.assays:q}"
        " --method {params.method:q} --output-pdf {output.pdf:q} --output-png {output.png:q}"
        " --output-csv {output.csv:q} {params.settings:q} 2>&1 | tee {log:q}"
