# What generators draw: for runs whose assays differ in what their generators were trained on (targets
# table_generators, data_or_prior and transfer), and the test of one generator before any search. No part of "all".


rule describe_generator:
    input:
        code=sources("analysis.describe_generator"),
        generator=files.model("generator.safetensors"),
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity=files.model("intensity.json"),
    output:
        features="results/{assay}/drawn.features.parquet",
        distances="results/{assay}/drawn.csv",
    log:
        "logs/describe_generator/{assay}.log",
    benchmark:
        "benchmarks/describe_generator/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("describe_generator"),
    params:
        assay=arguments.of_assay(
            "nucleus_channel",
            "marker_channel",
            "negative_control",
            "positive_control",
            "features",
        ),
        measure=arguments.features,
        settings=arguments.section("describe_generator"),
    shell:
        "python -m analysis.describe_generator --generator {input.generator:q}"
        " --cells {input.cells:q} --intensity {input.intensity:q} {params.assay:q}"
        " --output-features {output.features:q} --output-distances {output.distances:q}"
        " {params.measure:q} {params.settings:q} 2>&1 | tee {log:q}"


rule evaluate_generator:
    input:
        code=sources("analysis.evaluate_generator"),
        generator="results/{assay}/generator.safetensors",
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity="results/{assay}/intensity.json",
        operator=files.of_operator,
    output:
        "results/{assay}/generator_quality.json",
    log:
        "logs/evaluate_generator/{assay}.log",
    benchmark:
        "benchmarks/evaluate_generator/{assay}.tsv"
    wildcard_constraints:
        assay=files.assays_where("generator", "train"),
    conda:
        "../../environment.yml"
    threads: asks.threads("evaluate_generator")
    resources:
        **asks("evaluate_generator"),
    params:
        factors=arguments.factors,
        assay=arguments.of_assay(
            "negative_control",
            "positive_control",
            "nucleus_channel",
            "marker_channel",
            "features",
        ),
        degrade=arguments.quantise,
        measure=arguments.features,
        settings=arguments.section("evaluate_generator"),
    shell:
        "python -m analysis.evaluate_generator --generator {input.generator:q} --cells {input.cells:q}"
        " --intensity {input.intensity:q} {params.factors:q} {params.assay:q} {params.degrade:q}"
        " --output {output:q} --state state {params.measure:q} {params.settings:q} 2>&1 | tee {log:q}"
