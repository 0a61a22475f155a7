# Generator, prior and classifiers. Checkpoints lie in state/, never in an output: a killed job goes on.


rule train_gan:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity="results/{assay}/intensity.json",
        initial=initial_weights,
    output:
        generator="results/{assay}/generator.safetensors",
        training="results/{assay}/training.safetensors",
        grid="results/{assay}/generator.png",
        progress="results/{assay}/generator.progress.png",
        curves="results/{assay}/generator.training.csv",
    log:
        "logs/train_gan/{assay}.log",
    benchmark:
        "benchmarks/train_gan/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=network_mb,
        runtime=train_gan_runtime,
    params:
        initial=initial_flags,
        settings=section("train_gan"),
    shell:
        "python -m rls.train_gan --cells {input.cells:q} --intensity {input.intensity:q}"
        " --output {output.generator:q} --output-training {output.training:q} --state state"
        " {params.initial:q} {params.settings:q} 2>&1 | tee {log:q}"


rule sample_styles:
    input:
        generator=model("generator.safetensors"),
    output:
        "results/{assay}/styles.safetensors",
    log:
        "logs/sample_styles/{assay}.log",
    benchmark:
        "benchmarks/sample_styles/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=styles_mb,
        runtime=styles_runtime,
    params:
        settings=section("sample_styles"),
    shell:
        "python -m rls.sample_styles --generator {input.generator:q} --output {output:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule fit_flow:
    input:
        styles="results/{assay}/styles.safetensors",
    output:
        "results/{assay}/flow.safetensors",
    log:
        "logs/fit_flow/{assay}.log",
    benchmark:
        "benchmarks/fit_flow/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=styles_mb,
        runtime=fit_flow_runtime,
    params:
        settings=section("fit_flow"),
    shell:
        "python -m rls.fit_flow --styles {input.styles:q} --output {output:q} --state state"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule train_classifier:
    input:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
        intensity=model("intensity.json"),
    output:
        "results/{assay}/classifier.safetensors",
    log:
        "logs/train_classifier/{assay}.log",
    benchmark:
        "benchmarks/train_classifier/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=stack_mb,
        runtime=train_classifier_runtime,
    params:
        negative_control=assay_value("negative_control"),
        positive_control=assay_value("positive_control"),
        settings=section("train_classifier"),
    shell:
        "python -m rls.train_classifier --stack {input.stack:q} --intensity {input.intensity:q}"
        " --negative-control {params.negative_control:q}"
        " --positive-control {params.positive_control:q}"
        " --output {output:q} --state state {params.settings:q} 2>&1 | tee {log:q}"


# The same command on low-resolution images: the classifier that super-resolution has to match.
use rule train_classifier as train_low_resolution_classifier with:
    input:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=scale,
    output:
        "results/{assay}/{factor}x/{degradation}/classifier.safetensors",
    log:
        "logs/train_classifier/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_classifier/{assay}_{factor}x_{degradation}.tsv"


# Makes the results of an assay a model folder for other people's cells; runs only when asked for.
rule measure_trust:
    input:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
        generator="results/{assay}/generator.safetensors",
        intensity="results/{assay}/intensity.json",
        styles="results/{assay}/styles.safetensors",
        flow="results/{assay}/flow.safetensors",
    output:
        trust="results/{assay}/trust.json",
        search="results/{assay}/search.json",
    log:
        "logs/measure_trust/{assay}.log",
    benchmark:
        "benchmarks/measure_trust/{assay}.tsv"
    wildcard_constraints:
        assay=own_generators(),
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=network_mb,
        runtime=trust_runtime,
    params:
        settings=trust_flags,
    shell:
        "python -m rls.measure_trust --model results/{wildcards.assay:q}"
        " --high-resolution {input.stack:q} --method rls --search rls --state state"
        " {params.settings:q} 2>&1 | tee {log:q}"
