# Simulated cells beside real ones. The report does not show them: ask for the files by name.


rule compare_simulation:
    input:
        code=sources("analysis.compare_simulation"),
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
        real="|".join(config["assays"]),
    conda:
        "../../environment.yml"
    resources:
        **asks("compare_simulation"),
    params:
        beside=arguments.beside_real,
        assay=arguments.of_assay("nucleus_channel"),
        seed=config["seed"],
        settings=arguments.section("measure"),
    shell:
        "python -m analysis.compare_simulation --simulated {input.simulated:q}"
        " --real {input.real:q} {params.beside:q}"
        " {params.assay:q} --seed {params.seed}"
        " --output results/figures/{wildcards.assay}_beside_{wildcards.real}"
        " {params.settings:q} 2>&1 | tee {log:q}"
