# Simulated cells beside real ones: asked for by file name, never by the report.


rule compare_simulation:
    input:
        code=code(
            "analysis/compare_simulation.py",
            "analysis/drawing/beside.py",
            "analysis/simulation/comparison.py",
            "analysis/simulation/realism.py",
        ),
        simulated="results/{assay}/cells.ome.tif",
        simulated_table="results/{assay}/cells.parquet",
        real="results/{real}/cells.ome.tif",
        real_table="results/{real}/cells.parquet",
    output:
        multiext("results/figures/{assay}_beside_{real}_cells", ".pdf", ".png", ".csv"),
        multiext(
            "results/figures/{assay}_beside_{real}_statistics", ".pdf", ".png", ".csv"
        ),
    log:
        "logs/compare_simulation/{assay}_beside_{real}.log",
    benchmark:
        "benchmarks/compare_simulation/{assay}_beside_{real}.tsv"
    wildcard_constraints:
        real="|".join(ASSAYS),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=stack_mb,
        runtime=stack_runtime,
    params:
        pairs=pairs_beside,
        scale=scale_beside,
        nucleus_channel=assay_value("nucleus_channel"),
        seed=config["seed"],
        settings=section("measure"),
    shell:
        "python -m analysis.compare_simulation --simulated {input.simulated:q}"
        " --real {input.real:q} --pairs {params.pairs:q} --scale {params.scale}"
        " --nucleus-channel {params.nucleus_channel:q} --seed {params.seed}"
        " --output results/figures/{wildcards.assay}_beside_{wildcards.real}"
        " {params.settings:q} 2>&1 | tee {log:q}"
