# What LR images can know: the row regression, from LR to the features of HR. It reads cells of split gan, cut and
# degraded as all others are.


use rule high_resolution as cut_gan with:
    output:
        stack="results/{assay}/gan.ome.tif",
        table="results/{assay}/gan.parquet",
    log:
        "logs/cut_gan/{assay}.log",
    benchmark:
        "benchmarks/cut_gan/{assay}.tsv"
    resources:
        **asks("cut_gan"),
    params:
        settings=arguments.cut_gan,


use rule degrade as degrade_gan with:
    input:
        stack="results/{assay}/gan.ome.tif",
        table="results/{assay}/gan.parquet",
        intensity=files.model("intensity.json"),
        operator=files.of_operator,
    output:
        stack="results/{assay}/{factor}x/{degradation}/gan.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/gan.parquet",
    log:
        "logs/degrade_gan/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/degrade_gan/{assay}_{factor}x_{degradation}.tsv"
    resources:
        **asks("degrade_gan"),


rule measure_gan:
    input:
        code=sources("analysis.measure_gan"),
        stack="results/{assay}/gan.ome.tif",
        table="results/{assay}/gan.parquet",
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/gan.features.parquet",
    log:
        "logs/measure_gan/{assay}.log",
    benchmark:
        "benchmarks/measure_gan/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_gan"),
    params:
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.features,
    shell:
        "python -m analysis.measure_gan --stack {input.stack:q} --intensity {input.intensity:q}"
        " {params.assay:q} --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule train_regression:
    input:
        code=sources("analysis.train_regression"),
        gan="results/{assay}/{factor}x/{degradation}/gan.ome.tif",
        gan_table="results/{assay}/{factor}x/{degradation}/gan.parquet",
        gan_measured="results/{assay}/gan.features.parquet",
        low_resolution="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        measured="results/{assay}/{factor}x/{degradation}/high_resolution.features.parquet",
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/{factor}x/{degradation}/regression.safetensors",
    log:
        "logs/train_regression/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_regression/{assay}_{factor}x_{degradation}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("train_regression")
    resources:
        **asks("train_regression"),
    params:
        assay=arguments.of_assay("features"),
        settings=arguments.section("train_regression"),
    shell:
        "python -m analysis.train_regression --gan {input.gan:q}"
        " --gan-measured {input.gan_measured:q} --low-resolution {input.low_resolution:q}"
        " --measured {input.measured:q} --intensity {input.intensity:q} {params.assay:q}"
        " --output {output:q} --state state {params.settings:q} 2>&1 | tee {log:q}"
