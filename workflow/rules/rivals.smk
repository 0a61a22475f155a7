# The networks of the methods that train their own, on clean images of one factor.


rule train_pix2pix:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity=files.model("intensity.json"),
        weights=arguments.operator_files,
    output:
        network="results/{assay}/{factor}x/{method}.network.safetensors",
        curves="results/{assay}/{factor}x/{method}.network.training.csv",
    log:
        "logs/train_pix2pix/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/train_pix2pix/{assay}_{factor}x_{method}.tsv"
    wildcard_constraints:
        method=files.trained_by("train_pix2pix"),
    conda:
        "../../environment.yml"
    threads: asks.threads("train_pix2pix")
    resources:
        **asks("train_pix2pix"),
    params:
        method=arguments.of_method("adversarial_weight"),
        degrade=arguments.quantise,
        settings=arguments.section("train_pix2pix"),
    shell:
        "python -m rls.train_pix2pix --cells {input.cells:q} --intensity {input.intensity:q}"
        " --factor {wildcards.factor} {params.method:q}"
        " {params.degrade:q}"
        " --output {output.network:q} --state state {params.settings:q} 2>&1 | tee {log:q}"
