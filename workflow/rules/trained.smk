# What generators draw, for runs whose assays differ in what their generators were trained on. Their table and figures
# are targets (table_generators, data_or_prior, transfer), and no part of "all".


rule measure_generated:
    input:
        code=sources("analysis.measure_generated"),
        generator=files.model("generator.safetensors"),
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity=files.model("intensity.json"),
    output:
        features="results/{assay}/generated.features.parquet",
        distances="results/{assay}/generated.csv",
    log:
        "logs/measure_generated/{assay}.log",
    benchmark:
        "benchmarks/measure_generated/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_generated"),
    params:
        assay=arguments.of_assay(
            "nucleus_channel",
            "marker_channel",
            "negative_control",
            "positive_control",
            "features",
        ),
        measure=arguments.features,
        settings=arguments.section("measure_generated"),
    shell:
        "python -m analysis.measure_generated --generator {input.generator:q}"
        " --cells {input.cells:q} --intensity {input.intensity:q} {params.assay:q}"
        " --output-features {output.features:q} --output-distances {output.distances:q}"
        " {params.measure:q} {params.settings:q} 2>&1 | tee {log:q}"
