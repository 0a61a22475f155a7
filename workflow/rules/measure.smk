# What is measured on high, low and super-resolved images alike.


rule measure:
    input:
        code=code(
            "analysis/measure.py",
            "analysis/measuring/*.py",
            "analysis/numbers/metrics.py",
            "analysis/features/*.py",
        ),
        stack=stack_path,
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        clean_low_resolution=clean_low_resolution,
        intensity=model("intensity.json"),
        classifier="results/{assay}/classifier.safetensors",
    output:
        features="results/{assay}/{factor}x/{degradation}/{stack}.features.parquet",
        metrics="results/{assay}/{factor}x/{degradation}/{stack}.metrics.parquet",
    log:
        "logs/measure/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/measure/{assay}_{factor}x_{degradation}_{stack}.tsv"
    wildcard_constraints:
        assay=assays_at("high"),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        nucleus_channel=assay_value("nucleus_channel"),
        marker_channel=assay_value("marker_channel"),
        features=assay_value("features"),
        settings=section("measure"),
    shell:
        "python -m analysis.measure --stack {input.stack:q} --method {wildcards.stack:q}"
        " --high-resolution {input.high_resolution:q} --low-resolution {input.low_resolution:q}"
        " --clean-low-resolution {input.clean_low_resolution:q}"
        " --intensity {input.intensity:q} --classifier {input.classifier:q}"
        " --factor {wildcards.factor} --nucleus-channel {params.nucleus_channel:q}"
        " --marker-channel {params.marker_channel:q} --features {params.features:q}"
        " --output-features {output.features:q} --output-metrics {output.metrics:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule check_thresholds:
    input:
        code=code(
            "analysis/check_thresholds.py",
            "analysis/measuring/thresholds.py",
            "analysis/features/*.py",
        ),
        stack="results/{assay}/high_resolution.ome.tif",
        intensity=model("intensity.json"),
    output:
        "results/{assay}/thresholds.csv",
    log:
        "logs/check_thresholds/{assay}.log",
    benchmark:
        "benchmarks/check_thresholds/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        nucleus_channel=assay_value("nucleus_channel"),
        marker_channel=assay_value("marker_channel"),
        negative_control=assay_value("negative_control"),
        positive_control=assay_value("positive_control"),
        features=assay_value("features"),
        settings=section("measure"),
    shell:
        "python -m analysis.check_thresholds --high-resolution {input.stack:q}"
        " --intensity {input.intensity:q} --nucleus-channel {params.nucleus_channel:q}"
        " --marker-channel {params.marker_channel:q}"
        " --negative-control {params.negative_control:q}"
        " --positive-control {params.positive_control:q} --features {params.features:q}"
        " --output-csv {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule classify:
    input:
        code=code("analysis/classify.py", "analysis/classification/*.py"),
        stack=stack_path,
        high_resolution="results/{assay}/high_resolution.ome.tif",
        intensity=model("intensity.json"),
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
        assay=assays_at("high"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=measure_runtime,
    params:
        negative_control=assay_value("negative_control"),
        positive_control=assay_value("positive_control"),
        settings=section("classify"),
    shell:
        "python -m analysis.classify --stack {input.stack:q} --method {wildcards.stack:q}"
        " --high-resolution {input.high_resolution:q} --intensity {input.intensity:q}"
        " --classifier {input.classifier:q}"
        " --low-resolution-classifier {input.low_resolution_classifier:q}"
        " --features {input.features:q} --method-features {input.method_features:q}"
        " --negative-control {params.negative_control:q}"
        " --positive-control {params.positive_control:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
