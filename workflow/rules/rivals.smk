# Networks of the methods that bring their own, trained on clean images of one factor.


rule train_pix2pix:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity=model("intensity.json"),
    output:
        network="results/{assay}/{factor}x/{method}.network.safetensors",
        curves="results/{assay}/{factor}x/{method}.network.training.csv",
    log:
        "logs/train_pix2pix/{assay}_{factor}x_{method}.log",
    benchmark:
        "benchmarks/train_pix2pix/{assay}_{factor}x_{method}.tsv"
    wildcard_constraints:
        method=trained_by("train_pix2pix"),
    conda:
        "../../environment.yml"
    threads: HEAVY
    resources:
        gpu=gpu,
        mem_mb=network_mb,
        runtime=train_pix2pix_runtime,
    params:
        adversarial_weight=method_value("adversarial_weight"),
        border=degrade_value("border"),
        quantise=degrade_value("quantise"),
        settings=section("train_pix2pix"),
    shell:
        "python -m rls.train_pix2pix --cells {input.cells:q} --intensity {input.intensity:q}"
        " --factor {wildcards.factor} --adversarial-weight {params.adversarial_weight}"
        " --border {params.border:q} --quantise {params.quantise:q}"
        " --output {output.network:q} --state state {params.settings:q} 2>&1 | tee {log:q}"
