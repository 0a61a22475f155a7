# These rules make the results of an assay a model folder for other people's cells. They run only when
# their files are asked for.


rule measure_trust:
    input:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
        generator="results/{assay}/generator.safetensors",
        intensity="results/{assay}/intensity.json",
        styles="results/{assay}/styles.safetensors",
        flow="results/{assay}/flow.safetensors",
        encoders=files.encoders_of_trust,
        operator=files.of_operator,
    output:
        trust="results/{assay}/trust/{method}/trust.json",
        search="results/{assay}/trust/{method}/search.json",
    log:
        "logs/measure_trust/{assay}_{method}.log",
    benchmark:
        "benchmarks/measure_trust/{assay}_{method}.tsv"
    wildcard_constraints:
        assay=files.assays_where("generator", "train"),
    conda:
        "../../environment.yml"
    threads: asks.threads("measure_trust")
    resources:
        **asks("measure_trust"),
    params:
        encoders=given("encoders"),
        settings=arguments.trust,
    shell:
        "python -m rls.measure_trust --model results/{wildcards.assay:q}"
        " --high-resolution {input.stack:q} --method {wildcards.method:q} {params.encoders:q}"
        " --output results/{wildcards.assay:q}/trust/{wildcards.method:q} --state state"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule gather_trust:
    input:
        files.parts_of_trust,
    output:
        trust="results/{assay}/trust.json",
        search="results/{assay}/search.json",
    log:
        "logs/gather_trust/{assay}.log",
    benchmark:
        "benchmarks/gather_trust/{assay}.tsv"
    wildcard_constraints:
        assay=files.assays_where("generator", "train"),
    conda:
        "../../environment.yml"
    resources:
        **asks("gather_trust"),
    params:
        settings=arguments.section("gather_trust"),
    shell:
        "python -m rls.gather_trust --parts results/{wildcards.assay:q}/trust"
        " --output results/{wildcards.assay:q} {params.settings:q} 2>&1 | tee {log:q}"
