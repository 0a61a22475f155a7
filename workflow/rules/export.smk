# What other programs take up. No part of "all": targets profiles and profiles_h5ad.


rule export_profiles:
    input:
        code=sources("analysis.export_profiles"),
        run="results/run.json",
        features=measured_features(files),
    output:
        cells="results/{assay}/profiles/cells.parquet",
        wells="results/{assay}/profiles/wells.parquet",
    log:
        "logs/export_profiles/{assay}.log",
    benchmark:
        "benchmarks/export_profiles/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("export_profiles"),
    shell:
        "python -m analysis.export_profiles --run {input.run:q} --assay {wildcards.assay}"
        " --output-cells {output.cells:q} --output-wells {output.wells:q} 2>&1 | tee {log:q}"


use rule export_profiles as export_h5ad with:
    output:
        cells="results/{assay}/profiles/cells.h5ad",
        wells="results/{assay}/profiles/wells.h5ad",
    log:
        "logs/export_h5ad/{assay}.log",
    benchmark:
        "benchmarks/export_h5ad/{assay}.tsv"
    resources:
        **asks("export_h5ad"),
