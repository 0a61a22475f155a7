# What the networks of methods, the several solutions and the sweep need: names and inputs. No rule.


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


SOLUTIONS = config["solutions"]
KINDS = ("article", "variational", "restarts")

for name in (*SOLUTIONS["kinds"], SOLUTIONS["kind_shown"]):
    if name not in KINDS:
        raise WorkflowError(
            f"solutions.kinds and kind_shown: found '{name}', expected of {', '.join(KINDS)}."
        )
if SOLUTIONS["kind_shown"] not in SOLUTIONS["kinds"]:
    raise WorkflowError(
        "solutions.kind_shown is not among solutions.kinds. Add it there."
    )
if config["methods"].get(SOLUTIONS["method"], {}).get("search") != "rls":
    raise WorkflowError(
        f"solutions.method is '{SOLUTIONS['method']}', expected a method with 'search: rls'."
    )


def solutions_of(suffix):
    """A file of the solutions of every assay, factor and kind that runs."""

    def of_wildcards(wildcards):
        return [
            f"results/{assay}/{factor}x/{CLEAN}/solutions/{SOLUTIONS['method']}.{kind}{suffix}"
            for assay in RUN["assays"]
            for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
            for kind in SOLUTIONS["kinds"]
        ]

    return of_wildcards


def features_beside_solutions(wildcards):
    """Features of HR, and of the single search where its method runs."""
    names = ["high_resolution"]
    names += [SOLUTIONS["method"]] if SOLUTIONS["method"] in RUN["methods"] else []
    return [
        f"results/{assay}/{factor}x/{CLEAN}/{name}.features.parquet"
        for assay in RUN["assays"]
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
        for name in names
    ]


def stacks_beside_solutions(wildcards):
    """Images of HR and LR."""
    return [f"results/{assay}/high_resolution.ome.tif" for assay in RUN["assays"]] + [
        f"results/{assay}/{factor}x/{CLEAN}/low_resolution.ome.tif"
        for assay in RUN["assays"]
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
    ]


SWEPT = "rls"


def sweeps(wildcards):
    """The measured sweep of every assay and factor that runs."""
    return [
        f"results/{assay}/{factor}x/sweep/{SWEPT}.metrics.parquet"
        for assay in RUN["assays"]
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
    ]


def clean_low_resolution_table(wildcards):
    """The table beside the clean low-resolution stack."""
    return clean_low_resolution(wildcards).replace(".ome.tif", ".parquet")
