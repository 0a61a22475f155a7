# What a search finds after how many steps and seconds, by its start, coordinates and rate, on cells of split
# tune. It is no part of "all"; its figure is the target starts.


rule trace_search:
    input:
        stack=files.clean_low_resolution,
        table=table_beside(files.clean_low_resolution),
        intensity=files.model("intensity.json"),
        model=files.search_model,
        network=[],
        encoder=files.search_encoder,
    output:
        stack="results/{assay}/{factor}x/trace/{method}.ome.tif",
        table="results/{assay}/{factor}x/trace/{method}.parquet",
    log:
        "logs/trace_search/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/trace_search/{assay}_{factor}x_{method}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("trace_search")
    resources:
        **asks("trace_search"),
    params:
        model=arguments.search_model,
        shared=arguments.section("super_resolve"),
        settings=arguments.trace,
        method=arguments.method,
    shell:
        "python -m rls.trace_search --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.model:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --output {output.stack:q} --state state"
        " {params.shared:q} {params.settings:q} {params.method:q} 2>&1 | tee {log:q}"


use rule measure_sweep as measure_trace with:
    input:
        code=sources("analysis.measure_sweep"),
        stack="results/{assay}/{factor}x/trace/{method}.ome.tif",
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution=files.clean_low_resolution,
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/{factor}x/trace/{method}.metrics.parquet",
    log:
        "logs/measure_trace/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/measure_trace/{assay}_{factor}x_{method}.tsv"
    resources:
        **asks("measure_trace"),
