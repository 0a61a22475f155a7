# Measurements, the same for high-resolution, low-resolution and super-resolved images.


rule measure:
    input:
        code=sources("analysis.measure"),
        stack=files.stack,
        solutions=files.own_solutions,
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        clean_low_resolution=files.clean_low_resolution,
        intensity=files.model("intensity.json"),
        classifier=own_classifier(config),
    output:
        features="results/{assay}/{factor}x/{degradation}/{stack}.features.parquet",
        metrics="results/{assay}/{factor}x/{degradation}/{stack}.metrics.parquet",
    log:
        "logs/measure/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/measure/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "high"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure"),
    params:
        given=given("solutions", "classifier"),
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.section("measure"),
    shell:
        "python -m analysis.measure --stack {input.stack:q} --method {wildcards.stack:q}"
        " --high-resolution {input.high_resolution:q} --low-resolution {input.low_resolution:q}"
        " --clean-low-resolution {input.clean_low_resolution:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor} {params.given:q}"
        " {params.assay:q}"
        " --output-features {output.features:q} --output-metrics {output.metrics:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule check_thresholds:
    input:
        code=sources("analysis.check_thresholds"),
        stack="results/{assay}/high_resolution.ome.tif",
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/thresholds.csv",
    log:
        "logs/check_thresholds/{assay}.log",
    benchmark:
        "benchmarks/check_thresholds/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("check_thresholds"),
    params:
        assay=arguments.of_assay(
            "nucleus_channel",
            "marker_channel",
            "negative_control",
            "positive_control",
            "features",
        ),
        settings=arguments.features,
    shell:
        "python -m analysis.check_thresholds --high-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.assay:q}"
        " --output-csv {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule classify:
    input:
        code=sources("analysis.classify"),
        stack=files.stack,
        high_resolution="results/{assay}/high_resolution.ome.tif",
        intensity=files.model("intensity.json"),
        classifier="results/{assay}/classifier.safetensors",
        low_resolution_classifier="results/{assay}/{factor}x/{degradation}/classifier.safetensors",
        features="results/{assay}/{factor}x/{degradation}/high_resolution.features.parquet",
        method_features="results/{assay}/{factor}x/{degradation}/{stack}.features.parquet",
    output:
        "results/{assay}/{factor}x/{degradation}/{stack}.classification.parquet",
    log:
        "logs/classify/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/classify/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "high"),
    conda:
        "../../environment.yml"
    resources:
        **asks("classify"),
    params:
        assay=arguments.of_assay("negative_control", "positive_control"),
        settings=arguments.section("classify"),
    shell:
        "python -m analysis.classify --stack {input.stack:q} --method {wildcards.stack:q}"
        " --high-resolution {input.high_resolution:q} --intensity {input.intensity:q}"
        " --classifier {input.classifier:q}"
        " --low-resolution-classifier {input.low_resolution_classifier:q}"
        " --features {input.features:q} --method-features {input.method_features:q}"
        " {params.assay:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
