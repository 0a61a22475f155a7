# Assays that were acquired in low resolution. Nothing is degraded, and no high-resolution image exists.


rule low_resolution:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        generator=files.model("generator.safetensors"),
        intensity=files.model("intensity.json"),
        trust=files.known_trust,
        operator=files.of_operator,
    output:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity="results/{assay}/{factor}x/{degradation}/intensity.json",
    log:
        "logs/low_resolution/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/low_resolution/{assay}_{factor}x_{degradation}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "low"),
        degradation=files.clean,
    conda:
        "../../environment.yml"
    resources:
        **asks("low_resolution"),
    params:
        trust=given("trust"),
        degrade=arguments.operator,
        settings=arguments.section("low_resolution"),
    shell:
        "python -m analysis.low_resolution --cells {input.cells:q} --generator {input.generator:q}"
        " --model-intensity {input.intensity:q} {params.trust:q} --factor {wildcards.factor}"
        " {params.degrade:q} --degradation {wildcards.degradation:q}"
        " --output {output.stack:q} --intensity {output.intensity:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"


rule measure_without_reference:
    input:
        code=sources("analysis.measure_without_reference"),
        stack=files.stack,
        solutions=files.own_solutions,
        low_resolution=files.clean_low_resolution,
        intensity=files.intensity_scale,
    output:
        features="results/{assay}/{factor}x/{degradation}/{stack}.features.parquet",
        metrics="results/{assay}/{factor}x/{degradation}/{stack}.metrics.parquet",
    log:
        "logs/measure_without_reference/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/measure_without_reference/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "low"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_without_reference"),
    params:
        stack=given("stack", "solutions"),
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.features,
    shell:
        "python -m analysis.measure_without_reference {params.stack:q}"
        " --method {wildcards.stack:q} --low-resolution {input.low_resolution:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor}"
        " {params.assay:q}"
        " --output-features {output.features:q}"
        " --output-metrics {output.metrics:q} {params.settings:q} 2>&1 | tee {log:q}"


rule classify_without_reference:
    input:
        code=sources("analysis.classify_without_reference"),
        stack=files.stack,
        low_resolution=files.clean_low_resolution,
        intensity=files.intensity_scale,
        low_resolution_classifier="results/{assay}/{factor}x/{degradation}/classifier.safetensors",
        classifier=files.borrowed_classifier,
    output:
        "results/{assay}/{factor}x/{degradation}/{stack}.classification.parquet",
    log:
        "logs/classify_without_reference/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/classify_without_reference/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "low"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        **asks("classify_without_reference"),
    params:
        stack=given("stack"),
        classifier=arguments.borrowed_classifier,
        assay=arguments.of_assay("negative_control", "positive_control"),
        settings=arguments.section("classify"),
    shell:
        "python -m analysis.classify_without_reference {params.stack:q}"
        " --method {wildcards.stack:q} --low-resolution {input.low_resolution:q}"
        " --low-resolution-classifier {input.low_resolution_classifier:q} {params.classifier:q}"
        " --intensity {input.intensity:q} {params.assay:q}"
        " --output {output:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"
