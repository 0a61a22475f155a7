# Generator, prior and classifiers. Checkpoints lie in state/ and never in an output, so that a killed
# job goes on where it was.


rule train_gan:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity="results/{assay}/intensity.json",
        initial=files.initial_weights,
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
    threads: asks.threads("train_gan")
    resources:
        **asks("train_gan"),
    params:
        initial=arguments.initial_weights,
        settings=arguments.section("train_gan"),
    shell:
        "python -m rls.train_gan --cells {input.cells:q} --intensity {input.intensity:q}"
        " --output {output.generator:q} --output-training {output.training:q} --state state"
        " {params.initial:q} {params.settings:q} 2>&1 | tee {log:q}"


rule sample_styles:
    input:
        generator=files.model("generator.safetensors"),
    output:
        "results/{assay}/styles.safetensors",
    log:
        "logs/sample_styles/{assay}.log",
    benchmark:
        "benchmarks/sample_styles/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("sample_styles")
    resources:
        **asks("sample_styles"),
    params:
        settings=arguments.section("sample_styles"),
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
    threads: asks.threads("fit_flow")
    resources:
        **asks("fit_flow"),
    params:
        settings=arguments.section("fit_flow"),
    shell:
        "python -m rls.fit_flow --styles {input.styles:q} --output {output:q} --state state"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule train_classifier:
    input:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/classifier.safetensors",
    log:
        "logs/train_classifier/{assay}.log",
    benchmark:
        "benchmarks/train_classifier/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("train_classifier")
    resources:
        **asks("train_classifier"),
    params:
        more=given("more_cells"),
        assay=arguments.of_assay("negative_control", "positive_control"),
        settings=arguments.section("train_classifier"),
    shell:
        "python -m rls.train_classifier --stack {input.stack:q} {params.more:q}"
        " --intensity {input.intensity:q} {params.assay:q}"
        " --output {output:q} --state state {params.settings:q} 2>&1 | tee {log:q}"


# The same command trains on low-resolution images the classifier that super-resolution has to match.
use rule train_classifier as train_low_resolution_classifier with:
    input:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=files.intensity_scale,
    output:
        "results/{assay}/{factor}x/{degradation}/classifier.safetensors",
    log:
        "logs/train_classifier/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_classifier/{assay}_{factor}x_{degradation}.tsv"
