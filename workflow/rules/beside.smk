# What the networks of methods, the several solutions, the sweep and simulated beside real cells need: names and inputs. No rule.


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
            for assay in HIGH_ASSAYS
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
        for assay in HIGH_ASSAYS
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
        for name in names
    ]


def stacks_beside_solutions(wildcards):
    """Images of HR and LR."""
    return [f"results/{assay}/high_resolution.ome.tif" for assay in HIGH_ASSAYS] + [
        f"results/{assay}/{factor}x/{CLEAN}/low_resolution.ome.tif"
        for assay in HIGH_ASSAYS
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
    ]


SWEPT = "rls"


def sweeps(wildcards):
    """The measured sweep of every assay and factor that runs, where HR says what is right."""
    return [
        f"results/{assay}/{factor}x/sweep/{SWEPT}.metrics.parquet"
        for assay in HIGH_ASSAYS
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])
    ]


def clean_low_resolution_table(wildcards):
    """The table beside the clean low-resolution stack."""
    return clean_low_resolution(wildcards).replace(".ome.tif", ".parquet")


# ---- assays acquired in low resolution -----------------------------------------------------------


def known_trust(wildcards):
    """What the model's own cells look like, where its folder says so."""
    generator = ASSAYS[wildcards.assay]["generator"]
    path = f"{in_program(generator)}/trust.json"
    return [path] if generator not in ASSAYS and Path(path).is_file() else []


def known_trust_flags(wildcards, input):
    """The flag that hands over what known_trust lists."""
    return ["--trust", str(input.trust[0])] if input.trust else []


def acquired_stack(wildcards):
    """The stack that is measured; of high resolution there is none."""
    return [] if wildcards.stack == "high_resolution" else stack_path(wildcards)


def acquired_stack_flags(wildcards, input):
    """The flag that hands over what acquired_stack lists."""
    return ["--stack", str(input.stack)] if input.stack else []


def borrowed_classifier(wildcards):
    """The network of the assay whose generator is searched, where it has the same controls."""
    block = ASSAYS[wildcards.assay]
    other = ASSAYS.get(block["generator"])
    roles = ("negative_control", "positive_control")
    if other is None or any(block[role] != other[role] for role in roles):
        return []
    return [f"results/{block['generator']}/classifier.safetensors"]


def borrowed_classifier_flags(wildcards, input):
    """The flags that hand over what borrowed_classifier lists."""
    if not input.classifier:
        return []
    name = ASSAYS[wildcards.assay]["generator"]
    return ["--classifier", str(input.classifier[0]), "--trained-on", name]


def pairs_beside(wildcards):
    """SIMULATED=REAL treatments: those of one name, and the negative controls."""
    simulated, real = ASSAYS[wildcards.assay], ASSAYS[wildcards.real]
    pairs = {simulated["negative_control"]: real["negative_control"]}
    pairs |= {
        name: name for name in simulated["treatments"] if name in real["treatments"]
    }
    return [f"{name}={other}" for name, other in pairs.items()]


def scale_beside(wildcards):
    """One grey scale for both, unless their cameras count in other units."""
    depths = {ASSAYS[name]["bit_depth"] for name in (wildcards.assay, wildcards.real)}
    return "shared" if len(depths) == 1 else "own"
