# Degradation to low resolution, and super-resolution.


rule degrade:
    input:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
        intensity=files.model("intensity.json"),
        operator=files.of_operator,
    output:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
    log:
        "logs/degrade/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/degrade/{assay}_{factor}x_{degradation}.tsv"
    wildcard_constraints:
        assay=files.assays_where("resolution", "high"),
    conda:
        "../../environment.yml"
    resources:
        **asks("degrade"),
    params:
        settings=arguments.degradation,
    shell:
        "python -m rls.degrade --high-resolution {input.stack:q} --intensity {input.intensity:q}"
        " --factor {wildcards.factor} --degradation {wildcards.degradation:q}"
        " --output {output.stack:q} {params.settings:q} 2>&1 | tee {log:q}"


rule super_resolve:
    input:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        intensity=files.intensity_scale,
        model=files.search_model,
        network=files.search_network,
        encoder=files.search_encoder,
    output:
        stack=temp(
            "results/{assay}/{factor}x/{degradation}/shards/{method}.{scatteritem}.ome.tif"
        ),
        table=temp(
            "results/{assay}/{factor}x/{degradation}/shards/{method}.{scatteritem}.parquet"
        ),
        latents=temp(
            "results/{assay}/{factor}x/{degradation}/shards/{method}.{scatteritem}.latents.safetensors"
        ),
    log:
        "logs/super_resolve/{assay}_{factor}x_{degradation}_{method}.{scatteritem}.log",
    benchmark:
        "benchmarks/super_resolve/{assay}_{factor}x_{degradation}_{method}.{scatteritem}.tsv"
    group:
        asks.group
    conda:
        "../../environment.yml"
    threads: asks.threads("super_resolve")
    resources:
        **asks("super_resolve"),
    params:
        model=arguments.search_model,
        settings=arguments.section("super_resolve"),
        method=arguments.method,
    shell:
        "python -m rls.super_resolve --low-resolution {input.stack:q}"
        " --intensity {input.intensity:q} {params.model:q} --factor {wildcards.factor}"
        " --method {wildcards.method:q} --shard {wildcards.scatteritem:q}"
        " --output {output.stack:q} --state state {params.settings:q} {params.method:q}"
        " 2>&1 | tee {log:q}"


rule gather_shards:
    input:
        stacks=gather.shard(
            "results/{{assay}}/{{factor}}x/{{degradation}}/shards/{{method}}.{scatteritem}.ome.tif"
        ),
        tables=gather.shard(
            "results/{{assay}}/{{factor}}x/{{degradation}}/shards/{{method}}.{scatteritem}.parquet"
        ),
        latents=gather.shard(
            "results/{{assay}}/{{factor}}x/{{degradation}}/shards/{{method}}.{scatteritem}.latents.safetensors"
        ),
    output:
        stack="results/{assay}/{factor}x/{degradation}/{method}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/{method}.parquet",
        latents="results/{assay}/{factor}x/{degradation}/{method}.latents.safetensors",
    log:
        "logs/gather_shards/{assay}_{factor}x_{degradation}_{method}.log",
    benchmark:
        "benchmarks/gather_shards/{assay}_{factor}x_{degradation}_{method}.tsv"
    wildcard_constraints:
        method=files.methods_with(several=False),
    group:
        "gathered"
    conda:
        "../../environment.yml"
    resources:
        **asks("gather_shards"),
    shell:
        "python -m rls.gather_shards --shards {input.stacks:q} --output {output.stack:q}"
        " 2>&1 | tee {log:q}"


# Methods with n_solutions above 1: all solutions, and of each image that of least loss.
use rule gather_shards as gather_solutions with:
    output:
        stack="results/{assay}/{factor}x/{degradation}/{method}.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/{method}.parquet",
        latents="results/{assay}/{factor}x/{degradation}/{method}.latents.safetensors",
        solutions="results/{assay}/{factor}x/{degradation}/solutions/{method}.searches.ome.tif",
        solutions_table="results/{assay}/{factor}x/{degradation}/solutions/{method}.searches.parquet",
        solutions_latents="results/{assay}/{factor}x/{degradation}/solutions/{method}.searches.latents.safetensors",
    log:
        "logs/gather_solutions/{assay}_{factor}x_{degradation}_{method}.log",
    benchmark:
        "benchmarks/gather_solutions/{assay}_{factor}x_{degradation}_{method}.tsv"
    wildcard_constraints:
        method=files.methods_with(several=True),
    group:  # not that of measure, which waits for measure_solutions
        "gathered_solutions"
