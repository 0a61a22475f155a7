# The stages from plates to selected cells.


# P1.truth.parquet is the truth of plate P1, and not the table of a plate that is called P1.truth.
ruleorder: simulate_plate > crop_cells


rule simulate_plate:
    output:
        plate=temp(directory("data/{assay}/{plate}")),
        truth="results/{assay}/plates/{plate}.truth.parquet",
    log:
        "logs/simulate_plate/{assay}_{plate}.log",
    benchmark:
        "benchmarks/simulate_plate/{assay}_{plate}.tsv"
    wildcard_constraints:
        assay=files.assays_where("source", "simulate"),
    conda:
        "../../environment.yml"
    resources:
        **asks("simulate_plate"),
    params:
        settings=arguments.section("simulate_plate"),
    shell:
        "python -m analysis.simulate_plate --plate {wildcards.plate:q} --output {output.plate:q}"
        " --truth {output.truth:q} {params.settings:q} 2>&1 | tee {log:q}"


rule fetch_metadata:
    output:
        images="data/{assay}/metadata/BBBC021_v1_image.csv",
        moa="data/{assay}/metadata/BBBC021_v1_moa.csv",
    log:
        "logs/fetch_metadata/{assay}.log",
    benchmark:
        "benchmarks/fetch_metadata/{assay}.tsv"
    wildcard_constraints:
        assay=files.assays_where("source", "bbbc021"),
    conda:
        "../../environment.yml"
    resources:
        **asks("fetch_metadata"),
        downloads=1,
        connection=arguments.connection,
    shell:
        "python -m analysis.fetch_metadata --state state --output data/{wildcards.assay}/metadata"
        " {resources.connection} 2>&1 | tee {log:q}"


# The later rules of a plate have a higher priority, so that each plate is cropped and deleted before
# another is fetched: the disk holds one raw plate for each running job.
rule fetch_plate:
    input:
        images="data/{assay}/metadata/BBBC021_v1_image.csv",
        moa="data/{assay}/metadata/BBBC021_v1_moa.csv",
    output:
        temp(directory("data/{assay}/{plate}")),
    log:
        "logs/fetch_plate/{assay}_{plate}.log",
    benchmark:
        "benchmarks/fetch_plate/{assay}_{plate}.tsv"
    wildcard_constraints:
        assay=files.assays_where("source", "bbbc021"),
    conda:
        "../../environment.yml"
    resources:
        **asks("fetch_plate"),
        downloads=1,
        connection=arguments.connection,
    params:
        assay=arguments.of_assay("plates", "channels", "treatments"),
        listing=arguments.section("list_plate", "treatment_by"),
    shell:
        "python -m analysis.fetch_plate --plate {wildcards.plate:q} {params.assay:q}"
        " --metadata data/{wildcards.assay}/metadata"
        " {params.listing:q} --state state --output {output:q}"
        " {resources.connection} 2>&1 | tee {log:q}"


rule list_plate:
    input:
        raw=files.raw_plate,
        sheet=files.named_file("sheet"),
    output:
        "results/{assay}/plates/{plate}.sheet.csv",
    log:
        "logs/list_plate/{assay}_{plate}.log",
    benchmark:
        "benchmarks/list_plate/{assay}_{plate}.tsv"
    priority: 10
    group:
        "cropped"
    conda:
        "../../environment.yml"
    resources:
        **asks("list_plate"),
    params:
        source=arguments.plate_source,
        assay=arguments.of_assay("plates", "channels", "treatments"),
        settings=arguments.section("list_plate"),
    shell:
        "python -m analysis.list_plate --plate {wildcards.plate:q} {params.assay:q}"
        " {params.source:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"


rule train_segmenter:
    output:
        weights="results/{assay}/segmenter.cellpose",
        scores="results/{assay}/segmenter.csv",
    log:
        "logs/train_segmenter/{assay}.log",
    benchmark:
        "benchmarks/train_segmenter/{assay}.tsv"
    conda:
        "../../environment.yml"
    threads: asks.threads("train_segmenter")
    resources:
        **asks("train_segmenter"),
    params:
        settings=arguments.section("train_segmenter"),
        simulation=arguments.section("simulate_plate"),
    shell:
        "python -m analysis.train_segmenter --output {output.weights:q} --scores {output.scores:q}"
        " {params.settings:q} --simulation {params.simulation:q} 2>&1 | tee {log:q}"


# One of the next two rules makes the cells: crop_cells those of a plate from its fields, import_crops
# those of all plates from cells that are cropped already, for they lie in one file.
rule crop_cells:
    input:
        raw=files.raw_plate,
        sheet="results/{assay}/plates/{plate}.sheet.csv",
        segmenter_weights=files.segmenter_weights,
    output:
        stack=temp("results/{assay}/plates/{plate}.ome.tif"),
        table=temp("results/{assay}/plates/{plate}.parquet"),
        fields="results/{assay}/plates/{plate}.fields.csv",
    log:
        "logs/crop_cells/{assay}_{plate}.log",
    benchmark:
        "benchmarks/crop_cells/{assay}_{plate}.tsv"
    wildcard_constraints:
        assay=files.assays_where(
            "source", "simulate", "bbbc021", "bbbc014", "sheet", "ome_zarr"
        ),
    priority: 20
    group:
        "cropped"
    conda:
        "../../environment.yml"
    threads: asks.threads("crop_cells")
    resources:
        **asks("crop_cells"),
    params:
        assay=arguments.of_assay("channels", "nucleus_channel", "treatments"),
        settings=arguments.section("crop_cells"),
        weights=given("segmenter_weights"),
        factor=arguments.low_resolution,
    shell:
        "python -m analysis.crop_cells --sheet {input.sheet:q} {params.assay:q}"
        " --output {output.stack:q} --fields {output.fields:q} {params.settings:q}"
        " {params.weights:q} {params.factor:q} 2>&1 | tee {log:q}"


rule import_crops:
    input:
        crops=files.named_file("crops"),
        labels=files.named_file("sheet"),
    output:
        stack=temp("results/{assay}/plates/all.ome.tif"),
        table=temp("results/{assay}/plates/all.parquet"),
        fields="results/{assay}/plates/all.fields.csv",
    log:
        "logs/import_crops/{assay}.log",
    benchmark:
        "benchmarks/import_crops/{assay}.tsv"
    wildcard_constraints:
        assay=files.assays_where("source", "crops"),
    conda:
        "../../environment.yml"
    resources:
        **asks("import_crops"),
    params:
        labels=given("labels"),
        assay=arguments.of_assay("plates", "channels", "nucleus_channel", "treatments"),
        settings=arguments.section("import_crops"),
    shell:
        "python -m analysis.import_crops --crops {input.crops:q} {params.labels:q}"
        " {params.assay:q} --output {output.stack:q} --fields {output.fields:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"


rule select_cells:
    input:
        plates=files.of_plates(".ome.tif"),
        tables=files.of_plates(".parquet"),
        fields=files.of_plates(".fields.csv"),
    output:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
        intensity="results/{assay}/intensity.json",
        selection="results/{assay}/selection.csv",
        flags="results/{assay}/flags.csv",
        flagged="results/{assay}/flagged.ome.tif",
        flagged_table="results/{assay}/flagged.parquet",
    log:
        "logs/select_cells/{assay}.log",
    benchmark:
        "benchmarks/select_cells/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("select_cells"),
    params:
        assay=arguments.of_assay("treatments"),
        settings=arguments.selection,
    shell:
        "python -m analysis.select_cells --plates {input.plates:q} --fields {input.fields:q}"
        " {params.assay:q} --output {output.cells:q}"
        " --intensity {output.intensity:q} --selection {output.selection:q}"
        " --flags {output.flags:q} --flagged {output.flagged:q} {params.settings:q} 2>&1 | tee {log:q}"


rule high_resolution:
    input:
        cells="results/{assay}/cells.ome.tif",
        table="results/{assay}/cells.parquet",
    output:
        stack="results/{assay}/high_resolution.ome.tif",
        table="results/{assay}/high_resolution.parquet",
    log:
        "logs/high_resolution/{assay}.log",
    benchmark:
        "benchmarks/high_resolution/{assay}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("high_resolution"),
    params:
        settings=arguments.section("high_resolution"),
    shell:
        "python -m analysis.high_resolution --cells {input.cells:q} --output {output.stack:q}"
        " {params.settings:q} 2>&1 | tee {log:q}"
