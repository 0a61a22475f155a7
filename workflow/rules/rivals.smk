# Networks of the methods that bring their own, trained on clean images of one factor.


def trained_by(command):
    """Regular expression of the methods whose search names this command; matches none of none."""
    names = [
        name
        for name, block in config["methods"].items()
        if settings.method_fact(block["search"], "TRAINED_BY", None) == command
    ]
    return "|".join(names) or "(?!)"


def method_value(key):
    """A value of the method's own block."""

    def of_wildcards(wildcards):
        return config["methods"][wildcards.method][key]

    return of_wildcards


def degrade_value(key):
    """A value of the section degrade, with the assay's own changes."""

    def of_wildcards(wildcards):
        return settings.section_values(config, "degrade", wildcards.assay)[key]

    return of_wildcards


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
        runtime=1440,
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
