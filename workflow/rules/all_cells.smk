# The classifier of LR images that may see as many cells as the generator saw: its classes stand beside those of the
# classifiers of split classifier alone.


# Table 2 compares the clean degradation alone, and so the classifier sees that one alone.
use rule train_classifier as train_all_cells_classifier with:
    input:
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        more_cells="results/{assay}/{factor}x/{degradation}/gan.ome.tif",
        more_table="results/{assay}/{factor}x/{degradation}/gan.parquet",
        intensity=files.model("intensity.json"),
    output:
        "results/{assay}/{factor}x/{degradation}/all_cells_classifier.safetensors",
    log:
        "logs/train_all_cells_classifier/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/train_all_cells_classifier/{assay}_{factor}x_{degradation}.tsv"
    threads: asks.threads("train_all_cells_classifier")
    resources:
        **asks("train_all_cells_classifier"),


rule classify_all_cells:
    input:
        code=sources("analysis.classify"),
        stack="results/{assay}/{factor}x/{degradation}/low_resolution.ome.tif",
        table="results/{assay}/{factor}x/{degradation}/low_resolution.parquet",
        more_cells="results/{assay}/{factor}x/{degradation}/gan.ome.tif",
        more_table="results/{assay}/{factor}x/{degradation}/gan.parquet",
        intensity=files.model("intensity.json"),
        classifier="results/{assay}/{factor}x/{degradation}/all_cells_classifier.safetensors",
    output:
        "results/{assay}/{factor}x/{degradation}/low_resolution_all_cells.classification.parquet",
    log:
        "logs/classify_all_cells/{assay}_{factor}x_{degradation}.log",
    benchmark:
        "benchmarks/classify_all_cells/{assay}_{factor}x_{degradation}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **asks("classify_all_cells"),
    params:
        assay=arguments.of_assay("negative_control", "positive_control"),
        settings=arguments.section("classify"),
    shell:
        "python -m analysis.classify --stack {input.stack:q} --more-cells {input.more_cells:q}"
        " --method low_resolution_all_cells --intensity {input.intensity:q}"
        " --low-resolution-classifier {input.classifier:q} {params.assay:q}"
        " --output {output:q} {params.settings:q} 2>&1 | tee {log:q}"
