# The sweep over the lambdas of Eq. 5, on cells of split tune (article 4.1). It is no part of "all"; its
# figures are the targets sweep and tradeoff.


rule sweep_lambdas:
    input:
        stack=files.clean_low_resolution,
        table=table_beside(files.clean_low_resolution),
        intensity=files.model("intensity.json"),
        model=files.search_model,
        network=[],
        encoder=files.search_encoder,
    output:
        stack="results/{assay}/{factor}x/sweep/{method}.ome.tif",
        table="results/{assay}/{factor}x/sweep/{method}.parquet",
    log:
        "logs/sweep_lambdas/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/sweep_lambdas/{assay}_{factor}x_{method}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("sweep_lambdas")
    resources:
        **asks("sweep_lambdas"),
    params:
        model=arguments.search_model,
        shared=arguments.section("super_resolve"),
        settings=arguments.section("sweep_lambdas"),
        method=arguments.method,
    shell:
        "python -m rls.sweep_lambdas --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.model:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --output {output.stack:q} --state state"
        " {params.shared:q} {params.settings:q} {params.method:q} 2>&1 | tee {log:q}"


rule measure_sweep:
    input:
        code=sources("analysis.measure_sweep"),
        stack="results/{assay}/{factor}x/sweep/{method}.ome.tif",
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution=files.clean_low_resolution,
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/{factor}x/sweep/{method}.metrics.parquet",
    log:
        "logs/measure_sweep/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/measure_sweep/{assay}_{factor}x_{method}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_sweep"),
    params:
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.features,
    shell:
        "python -m analysis.measure_sweep --stack {input.stack:q}"
        " --high-resolution {input.high_resolution:q} --low-resolution {input.low_resolution:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor}"
        " {params.assay:q}"
        " --output {output:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"
