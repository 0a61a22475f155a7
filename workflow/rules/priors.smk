# MAF against RealNVP as the prior p_F (article 4.1): both are fitted to the same styles, and the same
# cells of split tune are searched with either. It is no part of "all"; its figure is the target priors.


use rule fit_flow as fit_prior with:
    input:
        styles=files.model("styles.safetensors"),
    output:
        "results/{assay}/priors/{flow}.safetensors",
    log:
        "logs/fit_prior/{assay}_{flow}.log",
    benchmark:
        "benchmarks/fit_prior/{assay}_{flow}.tsv"
    params:
        settings=arguments.prior_fit,


# A sweep of no weights searches the method's own pair.
use rule sweep_lambdas as search_with_prior with:
    input:
        stack=files.clean_low_resolution,
        table=table_beside(files.clean_low_resolution),
        intensity=files.model("intensity.json"),
        model=files.prior_model,
        network=[],
        encoder=files.search_encoder,
    output:
        stack="results/{assay}/{factor}x/priors/{method}.{flow}.ome.tif",
        table="results/{assay}/{factor}x/priors/{method}.{flow}.parquet",
    log:
        "logs/search_with_prior/{assay}_{factor}x_{method}_{flow}.log",
    benchmark:
        "benchmarks/search_with_prior/{assay}_{factor}x_{method}_{flow}.tsv"
    params:
        model=arguments.search_model,
        shared=arguments.section("super_resolve"),
        settings=arguments.own_lambdas,
        method=arguments.method,


use rule measure_sweep as measure_prior with:
    input:
        code=sources("analysis.measure_sweep"),
        stack="results/{assay}/{factor}x/priors/{method}.{flow}.ome.tif",
        high_resolution="results/{assay}/high_resolution.ome.tif",
        low_resolution=files.clean_low_resolution,
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/{factor}x/priors/{method}.{flow}.metrics.parquet",
    log:
        "logs/measure_prior/{assay}_{factor}x_{method}_{flow}.log",
    benchmark:
        "benchmarks/measure_prior/{assay}_{factor}x_{method}_{flow}.tsv"
