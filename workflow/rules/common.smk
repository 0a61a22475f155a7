# Checks the configuration, then names what rules share: flags and inputs. No rule.
import json
import os
import shlex
import sys
import uuid
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))
from analysis import configuration as settings
from rls.runtime.command import flags
from rls.runtime.errors import InputError


envvars:
    "PATH",


try:
    settings.check(config)
except InputError as error:
    raise WorkflowError(str(error))

# The commands run with this Python and find the program from any --directory.
os.environ.update(
    PYTHONPATH=str(workflow.basedir),
    PYTHONUNBUFFERED="1",
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
)
# How long work stops and goes on: workflow/README.md. In the environment and not in params, since
# no result depends on it. Jobs inherit the name of the run; those on a cluster may be requeued.
os.environ.setdefault("RLS_RUN", uuid.uuid4().hex)
if config["stop_after_minutes"] is not None:
    os.environ.update(RLS_STOP_AFTER_MINUTES=str(config["stop_after_minutes"]))
if workflow.remote_exec:
    os.environ.update(RLS_REQUEUE="1")

RUN = config["run"]
ASSAYS = config["assays"]
FIRST_ASSAY = RUN["assays"][0]
CLEAN = RUN["degradations"][0]
HIGH_ASSAYS = [
    name for name in RUN["assays"] if settings.has_high_resolution(ASSAYS[name])
]


wildcard_constraints:
    assay="|".join(ASSAYS),
    plate=r"[^/]+",
    factor=r"\d+",
    degradation="|".join(config["degradations"]),
    method="|".join(config["methods"]),
    stack="|".join(["high_resolution", "low_resolution", *config["methods"]]),


scattergather:
    shard=RUN["shards"],


# ---- flags ------------------------------------------------------------------------------------


def section(name):
    """Flags of a command from its section and the assay's own changes."""

    def of_wildcards(wildcards):
        assay = getattr(wildcards, "assay", "")
        return flags(settings.section_values(config, name, assay))

    return of_wildcards


def method_flags(wildcards):
    """Flags of a search from its method's block."""
    block = config["methods"][wildcards.method]
    return [
        "--search",
        block["search"],
        *flags(settings.method_values(config, wildcards.method)),
    ]


def assay_value(key):
    """The assay's own value, e.g. its channels."""

    def of_wildcards(wildcards):
        return ASSAYS[wildcards.assay][key]

    return of_wildcards


def degradation_flags(wildcards):
    """The chain that follows the bicubic operator; nothing when it is empty."""
    chain = config["degradations"][wildcards.degradation]
    return ["--chain", *chain] if chain else []


def assays_from(*sources):
    """Regular expression of the assays whose plates come from these sources; matches none of none."""
    names = [name for name, assay in ASSAYS.items() if assay["source"] in sources]
    return "|".join(names) or "(?!)"


# ---- inputs -----------------------------------------------------------------------------------


def code(*patterns):
    """Source files that a cheap job depends on; editing one runs it again."""
    root = Path(workflow.basedir)
    paths = (path for pattern in patterns for path in root.glob(pattern))
    return sorted(str(path) for path in paths if path.is_file())


def in_program(path):
    """A path of the configuration, relative to the program's folder unless absolute."""
    return str(Path(workflow.basedir, settings.expand_folder(path)))


def raw_plate(wildcards):
    """The folder of a plate's raw images, where the workflow makes it."""
    made = ASSAYS[wildcards.assay]["source"] in ("simulate", "bbbc021")
    return f"data/{wildcards.assay}/{wildcards.plate}" if made else []


def plate_sheet(wildcards):
    """The user's sheet, plate map or table of crops."""
    assay = ASSAYS[wildcards.assay]
    return in_program(assay["sheet"]) if "sheet" in assay else []


def segmenter_weights(wildcards):
    """The weights of Cellpose, where nuclei are found by it: a file, or what train_segmenter makes."""
    values = settings.section_values(config, "crop_cells", wildcards.assay)
    if values["segmenter"] == "threshold" or values["segmenter_weights"] is None:
        return []
    if values["segmenter_weights"] == "train":
        return f"results/{wildcards.assay}/segmenter.cellpose"
    return in_program(values["segmenter_weights"])


def segmenter_flags(wildcards, input):
    """The flag that hands over what segmenter_weights lists; after the section's own."""
    return ["--segmenter-weights", str(input.weights)] if input.weights else []


def imported_crops(wildcards):
    """The file of an assay whose cells are cropped already."""
    return in_program(ASSAYS[wildcards.assay]["crops"])


def label_flags(wildcards, input):
    """The table of the crops; a zip of PNG may do without."""
    return ["--labels", str(input.labels)] if input.labels else []


def source_flags(wildcards, input):
    """Where list_plate finds the plate."""
    assay = ASSAYS[wildcards.assay]
    if input.raw:
        return ["--folder", str(input.raw)]
    flags = ["--sheet", str(input.sheet)]
    if "image_folder" in assay:
        flag = "--folder" if assay["source"] == "bbbc014" else "--image-folder"
        flags += [flag, in_program(assay["image_folder"])]
    return flags


def connection(wildcards):
    """Where and how archives are fetched, quoted for the shell.

    A resource, which Snakemake does not remember as it does params: no result depends on it, and
    another mirror or a longer pause must not fetch 46 GB again.
    """
    assay = ASSAYS[wildcards.assay]
    archives = assay["archives"]
    flags = ["--archives", archives if "://" in archives else in_program(archives)]
    if "checksums" in assay:
        flags += ["--checksums", in_program(assay["checksums"])]
    return shlex.join(flags + section("fetch_plate")(wildcards))


def treatment_by(wildcards):
    """What makes a treatment in image.csv, as list_plate reads it."""
    values = settings.section_values(config, "list_plate", wildcards.assay)
    return values["treatment_by"]


def of_plates(suffix):
    """The files of all plates of an assay."""

    def of_wildcards(wildcards):
        folder = f"results/{wildcards.assay}/plates"
        return [
            f"{folder}/{plate}{suffix}" for plate in ASSAYS[wildcards.assay]["plates"]
        ]

    return of_wildcards


def model(file, assay=None):
    """A file of the generator that an assay uses: its own, another assay's, or a folder's.

    A folder must hold the generator and its intensity scale; styles and flow are made where it
    has none.
    """

    def of_wildcards(wildcards):
        name = assay or wildcards.assay
        generator = ASSAYS[name]["generator"]
        if generator in ASSAYS:
            return f"results/{generator}/{file}"
        if generator not in ("train", "none"):
            path = f"{in_program(generator)}/{file}"
            if (
                file in ("generator.safetensors", "intensity.json")
                or Path(path).is_file()
            ):
                return path
        return f"results/{name}/{file}"

    return of_wildcards


def scale(wildcards):
    """The intensity scale of an assay's images: its model's, or what low_resolution has chosen."""
    if settings.has_high_resolution(ASSAYS[wildcards.assay]):
        return model("intensity.json")(wildcards)
    return f"results/{wildcards.assay}/{wildcards.factor}x/{CLEAN}/intensity.json"


def assays_at(resolution):
    """Regular expression of the assays whose cells are of this resolution; matches none of none."""
    names = [
        name
        for name, block in ASSAYS.items()
        if block.get("resolution", "high") == resolution
    ]
    return "|".join(names) or "(?!)"


def initial_weights(wildcards):
    """The weights from which training starts, if a folder is named."""
    folder = ASSAYS[wildcards.assay].get("init_from", "none")
    files = (
        ("generator.safetensors", "training.safetensors") if folder != "none" else ()
    )
    return [f"{in_program(folder)}/{file}" for file in files]


def clean_low_resolution(wildcards):
    """The low-resolution images of the first degradation: what a search should find again."""
    return (
        f"results/{wildcards.assay}/{wildcards.factor}x/{CLEAN}/low_resolution.ome.tif"
    )


def initial_flags(wildcards, input):
    """The flag that hands over what initial_weights lists."""
    return ["--init-from", str(Path(input.initial[0]).parent)] if input.initial else []


def search_model(wildcards):
    """Generator, styles and flow, for the methods that search a latent space."""
    search = config["methods"][wildcards.method]["search"]
    if not settings.method_fact(search, "NEEDS_GENERATOR", True):
        return []
    return [
        model(f"{name}.safetensors")(wildcards)
        for name in ("generator", "styles", "flow")
    ]


def search_network(wildcards):
    """The network of a method that has its own: trained on clean images of this factor."""
    search = config["methods"][wildcards.method]["search"]
    if settings.method_fact(search, "TRAINED_BY", None) is None:
        return []
    block = ASSAYS[wildcards.assay]
    high = settings.has_high_resolution(block)
    return [
        f"results/{wildcards.assay if high else block['generator']}/{wildcards.factor}x/{wildcards.method}.network.safetensors"
    ]


def search_model_flags(wildcards, input):
    """The flags that hand over what search_model and search_network list."""
    names = ("--generator", "--styles", "--flow")
    pairs = [*zip(names, input.model), *(("--network", path) for path in input.network)]
    return [item for pair in pairs for item in pair]


def own_generators():
    """Regular expression of the assays whose generator is trained on their own cells."""
    names = [name for name, assay in ASSAYS.items() if assay["generator"] == "train"]
    return "|".join(names) or "(?!)"


def trust_flags(wildcards):
    """How the users of an assay's model will search: the settings of rls, and D."""
    factors = settings.assay_factors(ASSAYS[wildcards.assay], RUN["factors"])
    degrade = settings.section_values(config, "degrade", wildcards.assay)
    shared = settings.section_values(config, "super_resolve", wildcards.assay)
    values = {
        **shared,
        **settings.method_values(config, "rls"),
        **{name: degrade[name] for name in ("border", "quantise")},
    }
    return ["--factors", *map(str, factors), *flags(values)]


def stack_path(wildcards):
    """The stack that is measured: high resolution lies above the factors."""
    if wildcards.stack == "high_resolution":
        return f"results/{wildcards.assay}/high_resolution.ome.tif"
    condition = f"{wildcards.factor}x/{wildcards.degradation}"
    return f"results/{wildcards.assay}/{condition}/{wildcards.stack}.ome.tif"


def conditions(assay):
    """(factor, degradation, methods) of all that an assay runs; few methods after the first."""
    block = ASSAYS[assay]
    return [
        (factor, degradation, settings.condition_methods(RUN, factor, degradation))
        for factor in settings.assay_factors(block, RUN["factors"])
        for degradation in RUN["degradations"]
        if degradation == CLEAN or settings.has_high_resolution(block)
        if settings.condition_methods(RUN, factor, degradation)
    ]


def assay_results(assay, clean_only=False):
    """Everything measured of one assay; classified is only what all methods face."""
    paths = []
    for factor, degradation, methods in conditions(assay):
        folder = f"results/{assay}/{factor}x/{degradation}"
        kinds = ["features", "metrics"]
        if degradation == CLEAN:
            kinds.append("classification")
        elif clean_only:
            continue
        paths += [
            f"{folder}/{stack}.{kind}.parquet"
            for stack in ("high_resolution", "low_resolution", *methods)
            for kind in kinds
        ]
    return paths


def all_results(wildcards):
    """Everything measured of every assay that runs."""
    return [path for assay in RUN["assays"] for path in assay_results(assay)]


def clean_results(wildcards):
    """What is measured under the first degradation, which all methods face."""
    return [path for assay in RUN["assays"] for path in assay_results(assay, True)]


def all_stacks(wildcards, clean_only=False):
    """The images of every assay, factor, degradation and method, with their tables."""
    paths = [f"results/{assay}/high_resolution" for assay in HIGH_ASSAYS]
    for assay in RUN["assays"]:
        for factor, degradation, methods in conditions(assay):
            if degradation == CLEAN or not clean_only:
                folder = f"results/{assay}/{factor}x/{degradation}"
                paths += [f"{folder}/{stack}" for stack in ("low_resolution", *methods)]
    return [path + suffix for path in paths for suffix in (".ome.tif", ".parquet")]


def clean_stacks(wildcards):
    """The images under the first degradation, which all methods face."""
    return all_stacks(wildcards, clean_only=True)


def fetched_cells(wildcards):
    """The selected cells of every assay whose plates come over the network."""
    names = [name for name in RUN["assays"] if ASSAYS[name]["source"] == "bbbc021"]
    return [f"results/{assay}/cells.ome.tif" for assay in names]


def measured_cells(wildcards):
    """The table of HR of each assay, of LR where no HR exists: which cells lie in which split."""
    return [
        (
            f"results/{assay}/high_resolution.parquet"
            if assay in HIGH_ASSAYS
            else f"results/{assay}/{factor}x/{CLEAN}/low_resolution.parquet"
        )
        for assay in RUN["assays"]
        for factor in settings.assay_factors(ASSAYS[assay], RUN["factors"])[:1]
    ]


def of_assays(file):
    """One file of each assay that runs."""
    return [f"results/{assay}/{file}" for assay in RUN["assays"]]


def comparison_flags(clean_only=False):
    """What tables and figures compare: assays, factors, degradations, methods, in order."""
    flags = ["--results", "results", "--assay", *RUN["assays"]]
    flags += ["--factors", *map(str, RUN["factors"]), "--methods", *RUN["methods"]]
    if clean_only:
        return [*flags, "--degradations", CLEAN]
    flags += ["--degradations", *RUN["degradations"]]
    flags += ["--degraded-factors", *map(str, RUN["degraded_factors"])]
    return [*flags, "--degraded-methods", *RUN["degraded_methods"]]


def assay_descriptions():
    """What tables and figures say of the assays, as JSON."""
    names = (
        "title",
        "simulated",
        "negative_control",
        "positive_control",
        "channels",
        "nucleus_channel",
        "marker_channel",
        "features",
    )
    blocks = {}
    for assay in RUN["assays"]:
        blocks[assay] = {name: ASSAYS[assay][name] for name in names}
        blocks[assay]["factors"] = settings.assay_factors(ASSAYS[assay], RUN["factors"])
        blocks[assay]["resolution"] = ASSAYS[assay].get("resolution", "high")
        blocks[assay]["split_by"] = settings.section_values(
            config, "select_cells", assay
        )["split_by"]
    return json.dumps(
        {"seed": config["seed"], "device": config["device"], "assays": blocks}
    )


def generator_flags(wildcards):
    """Generators that lie elsewhere than in their assay's results, for the report."""
    elsewhere = {
        assay: model("generator.safetensors", assay)(wildcards)
        for assay in RUN["assays"]
    }
    pairs = [
        f"{assay}={path}"
        for assay, path in elsewhere.items()
        if path != f"results/{assay}/generator.safetensors"
    ]
    return ["--generators", *pairs] if pairs else []
