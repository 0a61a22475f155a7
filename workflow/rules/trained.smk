# What generators draw, for runs whose assays differ in what their generators were trained on. Their table and figures
# are targets (table_generators, data_or_prior, transfer), and no part of "all".


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
