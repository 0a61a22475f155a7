# The encoder, which gives searches their start. It is trained on generated pairs alone, for each factor
# and degradation, where a method asks for it.


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
