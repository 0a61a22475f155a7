# Several solutions for each image (article, section 4.5). results.smk has their table and Fig. 8. Only
# images of the first degradation have solutions, but for methods with n_solutions above 1: kind
# searches, which super_resolve finds and gather_solutions writes.


rule sample_solutions:
    input:
        stack=files.to_calibrate,
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=files.intensity_scale,
        model=files.search_model,
        network=[],
        encoder=files.search_encoder,
    output:
        stack="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.parquet",
        latents="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.latents.safetensors",
    log:
        "logs/sample_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.log",
    benchmark:
        "benchmarks/sample_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.tsv"
    wildcard_constraints:
        kind="|".join(SOLUTION_KINDS),
    conda:
        "../../environment.yml"
    threads: asks.threads("sample_solutions")
    resources:
        **asks("sample_solutions"),
    params:
        model=arguments.search_model,
        settings=arguments.section("sample_solutions"),
        method=arguments.objective,
    shell:
        "python -m rls.sample_solutions --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.model:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --kind {wildcards.kind} --output {output.stack:q}"
        " --state state {params.settings:q} {params.method:q} 2>&1 | tee {log:q}"


rule measure_solutions:
    input:
        code=sources("analysis.measure_solutions"),
        stack="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.parquet",
        intensity=files.intensity_scale,
    output:
        "results/{assay}/{factor}x/{degradation}/solutions/{method}.{kind}.features.parquet",
    log:
        "logs/measure_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.log",
    benchmark:
        "benchmarks/measure_solutions/{assay}_{factor}x_{degradation}_{method}_{kind}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_solutions"),
    params:
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.features,
    shell:
        "python -m analysis.measure_solutions --stack {input.stack:q}"
        " --intensity {input.intensity:q} {params.assay:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
