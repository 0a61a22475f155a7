# How constant the Jacobian of each generator is: the term of Eq. 2 that the article drops. It is part of
# "all" where run.also names it; its figure is the target figure_path_lengths.


rule path_lengths:
    input:
        generator=files.model("generator.safetensors"),
        styles=files.model("styles.safetensors"),
        flow=files.model("flow.safetensors"),
    output:
        "results/{assay}/path_lengths.parquet",
    log:
        "logs/path_lengths/{assay}.log",
    benchmark:
        "benchmarks/path_lengths/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("path_lengths")
    resources:
        **asks("path_lengths"),
    params:
        settings=arguments.section("path_lengths"),
    shell:
        "python -m rls.path_lengths --generator {input.generator:q} --styles {input.styles:q}"
        " --flow {input.flow:q} --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
