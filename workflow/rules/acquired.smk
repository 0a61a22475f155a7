# Assays acquired in low resolution: nothing is degraded, and no high-resolution image exists.


rule low_resolution:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        generator=model("generator.safetensors"),
        intensity=model("intensity.json"),
        trust=known_trust,
    output:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity="results/{assay}/{factor}x/{degradation}/intensity.json",
    log:
        "logs/low_resolution/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/low_resolution/{assay}_{factor}x_{degradation}.tsv"
    wildcard_constraints:
        assay=assays_at("low"),
        degradation=CLEAN,
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=stack_runtime,
    params:
        trust=known_trust_flags,
        border=degrade_value("border"),
        settings=section("low_resolution"),
    shell:
        "python -m analysis.low_resolution --cells {input.cells:q} --generator {input.generator:q}"
        " --model-intensity {input.intensity:q} {params.trust:q} --factor {wildcards.factor}"
        " --border {params.border:q} --degradation {wildcards.degradation:q}"
        " --output {output.stack:q} --intensity {output.intensity:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"


rule measure_without_reference:
    input:
        code=code(
            "analysis/measure_without_reference.py",
            "analysis/measuring/*.py",
            "analysis/numbers/metrics.py",
            "analysis/features/*.py",
        ),
        stack=acquired_stack,
        low_resolution=clean_low_resolution,
        intensity=scale,
    output:
        features="results/{assay}/{factor}x/{degradation}/{stack}.features.parquet",
        metrics="results/{assay}/{factor}x/{degradation}/{stack}.metrics.parquet",
    log:
        "logs/measure_without_reference/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/measure_without_reference/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=assays_at("low"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        stack=acquired_stack_flags,
        nucleus_channel=assay_value("nucleus_channel"),
        marker_channel=assay_value("marker_channel"),
        features=assay_value("features"),
        settings=section("measure"),
    shell:
        "python -m analysis.measure_without_reference {params.stack:q}"
        " --method {wildcards.stack:q} --low-resolution {input.low_resolution:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor}"
        " --nucleus-channel {params.nucleus_channel:q} --marker-channel {params.marker_channel:q}"
        " --features {params.features:q} --output-features {output.features:q}"
        " --output-metrics {output.metrics:q} {params.settings:q} 2>&1 | tee {log:q}"


rule classify_without_reference:
    input:
        code=code(
            "analysis/classify_without_reference.py", "analysis/classification/*.py"
        ),
        stack=acquired_stack,
        low_resolution=clean_low_resolution,
        intensity=scale,
        low_resolution_classifier="results/{assay}/{factor}x/{degradation}/classifier.safetensors",
        classifier=borrowed_classifier,
    output:
        "results/{assay}/{factor}x/{degradation}/{stack}.classification.parquet",
    log:
        "logs/classify_without_reference/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/classify_without_reference/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=assays_at("low"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        stack=acquired_stack_flags,
        classifier=borrowed_classifier_flags,
        negative_control=assay_value("negative_control"),
        positive_control=assay_value("positive_control"),
        settings=section("classify"),
    shell:
        "python -m analysis.classify_without_reference {params.stack:q}"
        " --method {wildcards.stack:q} --low-resolution {input.low_resolution:q}"
        " --low-resolution-classifier {input.low_resolution_classifier:q} {params.classifier:q}"
        " --intensity {input.intensity:q} --negative-control {params.negative_control:q}"
        " --positive-control {params.positive_control:q} --output {output:q} {params.settings:q}"
        " 2>&1 | tee {log:q}"
