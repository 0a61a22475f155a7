# What is trained on generated pairs alone, for each factor and degradation where a method asks for it:
# the encoder, which gives searches their start, and the row amortised, a regression from LR to features. Rule
# measure_predicted asks it, and the regression of ceiling.smk, which is trained on cells, for the features of cells.


rule train_encoder:
    input:
        generator=files.model("generator.safetensors"),
        styles=files.model("styles.safetensors"),
        operator=files.of_operator,
    output:
        "results/{assay}/{factor}x/{degradation}/encoder.safetensors",
    log:
        "logs/train_encoder/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_encoder/{assay}_{factor}x_{degradation}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("train_encoder")
    resources:
        **asks("train_encoder"),
    params:
        degrade=arguments.degradation_of_pairs,
        settings=arguments.section("train_encoder"),
    shell:
        "python -m rls.train_encoder --generator {input.generator:q} --styles {input.styles:q}"
        " --factor {wildcards.factor} {params.degrade:q} --output {output:q} --state state"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule train_amortised:
    input:
        code=sources("analysis.train_amortised"),
        generator=files.model("generator.safetensors"),
        intensity=files.intensity_scale,
        operator=files.of_operator,
    output:
        "results/{assay}/{factor}x/{degradation}/amortised.safetensors",
    log:
        "logs/train_amortised/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_amortised/{assay}_{factor}x_{degradation}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("train_amortised")
    resources:
        **asks("train_amortised"),
    params:
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        degrade=arguments.degradation_of_pairs,
        measure=arguments.features,
        settings=arguments.section("train_amortised"),
    shell:
        "python -m analysis.train_amortised --generator {input.generator:q}"
        " --intensity {input.intensity:q} --factor {wildcards.factor} {params.degrade:q}"
        " {params.assay:q} --output {output:q} --state state"
        " {params.measure:q} {params.settings:q} 2>&1 | tee {log:q}"


rule measure_predicted:
    input:
        code=sources("analysis.measure_predicted"),
        network="results/{assay}/{factor}x/{degradation}/{regression}.safetensors",
        generator=files.generator_of_regression,
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=files.intensity_scale,
    output:
        "results/{assay}/{factor}x/{degradation}/{regression}.features.parquet",
    log:
        "logs/measure_predicted/{assay}_{factor}x_{degradation}_{regression}.log",
    benchmark:
        "benchmarks/measure_predicted/{assay}_{factor}x_{degradation}_{regression}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("measure_predicted"),
    params:
        generator=given("generator"),
        assay=arguments.of_assay("nucleus_channel", "marker_channel", "features"),
        settings=arguments.features,
    shell:
        "python -m analysis.measure_predicted --network {input.network:q} {params.generator:q}"
        " --low-resolution {input.stack:q} --intensity {input.intensity:q}"
        " --factor {wildcards.factor} {params.assay:q} --output {output:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"
