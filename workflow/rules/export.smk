# What other programs take up. No part of "all": targets profiles, profiles_h5ad and zarr.


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


# A stack of cells or reconstructions; every stack of the clean degradation by the target zarr.
rule export_zarr:
    input:
        code=sources("analysis.export_zarr"),
        stack=files.stack,
        intensity=files.intensity_scale,
    output:
        directory("results/{assay}/{factor}x/{degradation}/{stack}.ome.zarr"),
    log:
        "logs/export_zarr/{assay}_{factor}x_{degradation}_{stack}.log",
    benchmark:
        "benchmarks/export_zarr/{assay}_{factor}x_{degradation}_{stack}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("export_zarr"),
    params:
        assay=arguments.of_assay("nucleus_channel"),
        settings=arguments.features,
    shell:
        "python -m analysis.export_zarr --stack {input.stack:q} --intensity {input.intensity:q}"
        " {params.assay:q} --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
