# What every job asks of a machine: threads, MiB of memory, minutes, one GPU or none. No rule.
#
# A function below is what stands behind `mem_mb` or `runtime` of a rule, and nothing else is. Sizes come
# from the configuration (cells, pixels, images, steps, methods); rates and what a process holds by itself
# were measured on two CPU cores and are named here; MARGIN is on top. The measured value of a job stands
# beside what it asked for in its file under benchmarks/ (max_rss, s; resources). A job that was killed for
# memory or time is submitted again (`retries` of the profile) with twice as much of both.

from functools import cache

HEAVY = max(config["threads"], 1)
MARGIN = 3  # requested over estimated time: other machines, other users
SHORTEST = 20  # minutes; below, a scheduler gains nothing
LONGEST = (
    7 * 24 * 60
)  # minutes; the limit of most partitions. Training goes on from its checkpoint
PYTHON_MB = (
    1000  # a process with numpy, pandas, scikit-image, matplotlib; measured 120 to 400
)
TORCH_MB = 1500  # a process with torch; measured 310 to 460
GPU_MB = 3000  # host memory of a CUDA context, beside TORCH_MB
MIB = 2**20
FIELDS_OF_PLATE = {
    "bbbc021": 240,
    "bbbc014": 96,
}  # 60 wells of 4 fields; one field a well
FIELDS_OF_SHEET = 384  # of a plate of unknown design
FIELD_PX = 1024 * 1280  # of an unknown camera

SIMULATE_S_PER_MPX = 5.0  # a channel; measured 2.7
CROP_S_PER_MPX = 1.0  # a channel, two passes; measured 1.0
SEGMENT_S_PER_MPX = {
    "cellpose": 15.0
}  # of the nuclear channel; threshold is part of the above
SEGMENTER_S_PER_PATCH = (
    1.25  # Cellpose on 128 px, forward and back; measured on two threads
)
READ_S_PER_MB = 0.02  # zlib and digests
MEASURE_S_PER_IMAGE = 0.1  # networks and features
DRAW_S_PER_IMAGE = 0.005  # bootstrap of tables and figures
CPU_GFLOP_S = 10.0  # a thread, convolutions forward and back
GPU_GFLOP_S = 5000.0  # an older card; newer ones do several times this
TRAIN_PASSES = (
    15  # forward passes of the generator that an image shown costs in training
)
SEARCH_PASSES = 3  # forward and back


# ---- sizes --------------------------------------------------------------------------------------


@cache
def section_of(name, assay):
    """A section with the assay's own changes; asked for thousands of times."""
    return settings.section_values(config, name, assay)


def setting(name, key, wildcards=None):
    """A value of a section, with the assay's own changes."""
    return section_of(name, getattr(wildcards, "assay", ""))[key]


def plate_fields(wildcards):
    """Fields of a plate, at most."""
    assay = ASSAYS[wildcards.assay]
    if assay["source"] == "simulate":
        wells = setting("simulate_plate", "wells_per_treatment", wildcards)
        wells = wells * len(assay["treatments"])
        wells += setting("simulate_plate", "empty_wells", wildcards)
        return wells * setting("simulate_plate", "sites_per_well", wildcards)
    return FIELDS_OF_PLATE.get(assay["source"], FIELDS_OF_SHEET)


def plate_mpx(wildcards):
    """Megapixels of all channels of a plate's fields."""
    assay = ASSAYS[wildcards.assay]
    side = "field_height_px", "field_width_px"
    simulated = assay["source"] == "simulate"
    sides = [setting("simulate_plate", name, wildcards) for name in side]
    pixels = sides[0] * sides[1] if simulated else FIELD_PX
    return plate_fields(wildcards) * len(assay["channels"]) * pixels / 1e6


def plate_cells(wildcards):
    """Cells that crop_cells takes of a plate, at most."""
    return plate_fields(wildcards) * setting("crop_cells", "cells_per_field", wildcards)


def n_cells(wildcards, *splits):
    """Cells of some splits of an assay, at most: there are no more than its plates hold."""
    assay = ASSAYS[wildcards.assay]
    wanted = sum(setting("select_cells", f"cells_{s}", wildcards) for s in splits)
    held = plate_cells(wildcards) * len(assay["plates"])
    return min(wanted * len(assay["treatments"]), held)


def images_mb(wildcards, n, side):
    """MiB of n images of an assay as uint16 counts; as float32 they are twice that."""
    return 2 * n * len(ASSAYS[wildcards.assay]["channels"]) * side**2 / MIB


def cells_mb(wildcards):
    """MiB of all selected cells with their margin."""
    n = n_cells(wildcards, "gan", "tune", "classifier", "evaluation")
    return images_mb(wildcards, n, ASSAYS[wildcards.assay]["crop_size"])


def measured_mb(wildcards):
    """MiB of the high-resolution images."""
    n = n_cells(wildcards, "tune", "classifier", "evaluation")
    return images_mb(wildcards, n, ASSAYS[wildcards.assay]["image_size"])


def plate_crops_mb(wildcards):
    """MiB of the cells of one plate with their margin."""
    size = ASSAYS[wildcards.assay]["crop_size"]
    return images_mb(wildcards, plate_cells(wildcards), size)


def generator_gflop(wildcards):
    """Arithmetic of one image made: two 3x3 convolutions at every size from 4 px on, in 1e9."""
    base, most = (
        setting("train_gan", key, wildcards) for key in ("channel_base", "channel_max")
    )
    total, before, size = 0, most, 4
    while size <= ASSAYS[wildcards.assay]["image_size"]:
        maps = min(base // size, most)
        total += 2 * 9 * size**2 * maps * (before + maps)
        before, size = maps, 2 * size
    return total / 1e9


def search_steps(wildcards):
    """Steps of a method's search; 0 of one that has no network to search through."""
    block = config["methods"][wildcards.method]
    phases = 3 if block["search"] == "robust_unsupervised" else 1
    return phases * block.get("steps", 0)


def wide(wildcards):
    """Images that a table or figure reads: evaluation cells by assay, condition and method."""
    one = type("Wildcards", (), {})
    total = 0
    for one.assay in RUN["assays"]:
        stacks = sum(2 + len(methods) for _, _, methods in conditions(one.assay))
        total += n_cells(one, "evaluation") * stacks
    return total


# ---- threads and GPUs -----------------------------------------------------------------------------


def gpu(wildcards):
    """One GPU for the jobs that can use it, none where the configuration says cpu."""
    return 0 if config["device"] == "cpu" else 1


def searches(wildcards):
    """Whether a method has a network; without one its search is an enlargement of seconds."""
    return bool(search_model(wildcards) or search_network(wildcards))


def search_threads(wildcards):
    """Threads of a search: one where there is nothing to compute."""
    return HEAVY if searches(wildcards) else 1


def segmenter_threads(wildcards):
    """Threads of crop_cells: only Cellpose uses more than one."""
    threshold = setting("crop_cells", "segmenter", wildcards) == "threshold"
    return 1 if threshold else HEAVY


def search_gpu(wildcards):
    """The GPU of a search, where the method has a network."""
    return gpu(wildcards) if searches(wildcards) else 0


def gathered(wildcards):
    """Group of a search: shards of seconds are submitted as one job with what gathers them."""
    return None if searches(wildcards) else "gathered"


# ---- memory, in MiB -------------------------------------------------------------------------------


def asked_mb(needed, attempt):
    """What is needed, doubled with every attempt, as the whole number that a scheduler wants."""
    return int(needed * 2 ** (attempt - 1))


def small_mb(wildcards, attempt):
    """Of jobs that read and write tables, or read files block by block."""
    return asked_mb(PYTHON_MB, attempt)


def plate_mb(wildcards, attempt):
    """Of jobs that read fields one by one and keep the crops, which lie mapped on the disk."""
    segmenter = setting("crop_cells", "segmenter", wildcards)
    own = PYTHON_MB + (TORCH_MB if segmenter in SEGMENT_S_PER_MPX else 500)
    return asked_mb(own + 1.2 * plate_crops_mb(wildcards), attempt)


def segmenter_mb(wildcards, attempt):
    """Of training Cellpose: its network and simulated fields."""
    return asked_mb(PYTHON_MB + 2 * TORCH_MB, attempt)


def select_mb(wildcards, attempt):
    """Of select_cells: the selected cells, mapped on the disk, and two copies of one plate."""
    copies = cells_mb(wildcards) + 2 * plate_crops_mb(wildcards)
    return asked_mb(PYTHON_MB + copies, attempt)


def centre_mb(wildcards, attempt):
    """Of high_resolution: the selected cells, mapped, and those that are cut with their cuts."""
    share = n_cells(wildcards, "tune", "classifier", "evaluation") / n_cells(
        wildcards, "gan", "tune", "classifier", "evaluation"
    )
    copies = (1 + share) * cells_mb(wildcards) + 2 * measured_mb(wildcards)
    return asked_mb(PYTHON_MB + copies, attempt)


def stack_mb(wildcards, attempt):
    """Of jobs that hold high-resolution images: counts, and float32 copies of some."""
    return asked_mb(TORCH_MB + 6 * measured_mb(wildcards), attempt)


def network_mb(wildcards, attempt):
    """Of jobs that hold networks and a batch of activations; training maps its cells."""
    size = ASSAYS[wildcards.assay]["image_size"]
    own = TORCH_MB + (GPU_MB if gpu(wildcards) else 0)
    return asked_mb(own + 40 * size + cells_mb(wildcards), attempt)


def search_mb(wildcards, attempt):
    """Of a search: images of all shards are read; networks, where it has any."""
    own = TORCH_MB + 3 * measured_mb(wildcards)
    if searches(wildcards):
        own += 40 * ASSAYS[wildcards.assay]["image_size"]
        own += GPU_MB if gpu(wildcards) else 0
    return asked_mb(own, attempt)


def styles_mb(wildcards, attempt):
    """Of jobs that hold all styles and their flow."""
    n, w_dim = (
        setting("sample_styles", "n_styles", wildcards),
        setting("train_gan", "w_dim", wildcards),
    )
    own = TORCH_MB + (GPU_MB if gpu(wildcards) else 0)
    return asked_mb(own + 6 * n * w_dim * 4 / MIB, attempt)


def wide_mb(wildcards, attempt):
    """Of tables and figures: a stack at a time, and the rows of all."""
    one = type("Wildcards", (), {})
    largest = 0
    for one.assay in RUN["assays"]:
        largest = max(largest, measured_mb(one))
    return asked_mb(TORCH_MB + 4 * largest + 0.005 * wide(wildcards), attempt)


# ---- time, in minutes -----------------------------------------------------------------------------


def asked_minutes(seconds, attempt):
    """Minutes for an estimate in seconds: with the margin, within bounds, doubled by attempts."""
    minutes = max(SHORTEST, MARGIN * seconds / 60)
    return int(min(LONGEST, minutes * 2 ** (attempt - 1)))


def compute_seconds(gflop):
    """Seconds of so much arithmetic, on the GPU where jobs may use one."""
    rate = CPU_GFLOP_S * HEAVY if config["device"] == "cpu" else GPU_GFLOP_S
    return gflop / rate


def short_runtime(wildcards, attempt):
    """Of jobs that last seconds; minutes where a large plate is listed from a slow disk."""
    return asked_minutes(0, attempt)


def fetch_runtime(wildcards, attempt):
    """Of one plate from the network: 840 MB at a fifth of the expected rate."""
    rate = setting("fetch_plate", "expected_mb_per_s", wildcards)
    return asked_minutes(5 * 840 / rate, attempt)


def simulate_runtime(wildcards, attempt):
    """Of one simulated plate."""
    return asked_minutes(SIMULATE_S_PER_MPX * plate_mpx(wildcards), attempt)


def crop_runtime(wildcards, attempt):
    """Of cropping one plate: reading, illumination, segmentation."""
    segmenter = setting("crop_cells", "segmenter", wildcards)
    nuclear = SEGMENT_S_PER_MPX.get(segmenter, 0.0) / len(
        ASSAYS[wildcards.assay]["channels"]
    )
    return asked_minutes((CROP_S_PER_MPX + nuclear) * plate_mpx(wildcards), attempt)


def segmenter_runtime(wildcards, attempt):
    """Of all epochs of training Cellpose."""
    epochs, fields, side = (
        setting("train_segmenter", key, wildcards)
        for key in ("epochs", "fields_per_epoch", "patch_px")
    )
    seconds = SEGMENTER_S_PER_PATCH * epochs * fields * (side / 128) ** 2
    return asked_minutes(seconds, attempt)


def select_runtime(wildcards, attempt):
    """Of select_cells: every plate is read once."""
    plates = len(ASSAYS[wildcards.assay]["plates"]) * plate_crops_mb(wildcards)
    return asked_minutes(READ_S_PER_MB * (plates + 3 * cells_mb(wildcards)), attempt)


def stack_runtime(wildcards, attempt):
    """Of reading and writing high-resolution images."""
    read = cells_mb(wildcards) + 6 * measured_mb(wildcards)
    return asked_minutes(READ_S_PER_MB * read, attempt)


def measure_runtime(wildcards, attempt):
    """Of the networks and features on every evaluated image."""
    n = n_cells(wildcards, "tune", "classifier", "evaluation")
    return asked_minutes(MEASURE_S_PER_IMAGE * n, attempt)


def train_gan_runtime(wildcards, attempt):
    """Of the whole training; with a shorter limit it stops in time and goes on when resubmitted."""
    images = 1000 * setting("train_gan", "total_kimg", wildcards)
    gflop = TRAIN_PASSES * images * generator_gflop(wildcards)
    return asked_minutes(compute_seconds(gflop), attempt)


def train_pix2pix_runtime(wildcards, attempt):
    """Of all epochs; a U-Net costs about what the generator does."""
    epochs = sum(
        setting("train_pix2pix", key, wildcards) for key in ("epochs", "decay_epochs")
    )
    images = epochs * n_cells(wildcards, "gan")
    gflop = TRAIN_PASSES * images * generator_gflop(wildcards)
    return asked_minutes(compute_seconds(gflop), attempt)


def train_classifier_runtime(wildcards, attempt):
    """Of all epochs on both controls; the network is a hundredth of a generator."""
    epochs = setting("train_classifier", "epochs", wildcards)
    images = epochs * 2 * setting("select_cells", "cells_classifier", wildcards)
    return asked_minutes(0.02 * images, attempt)


def styles_runtime(wildcards, attempt):
    """Of drawing styles through the mapping network."""
    n = setting("sample_styles", "n_styles", wildcards)
    return asked_minutes(0.001 * n, attempt)


def fit_flow_runtime(wildcards, attempt):
    """Of all epochs of the flow: three masked layers a block, forward and back; stops earlier."""
    get = {
        key: setting("fit_flow", key, wildcards)
        for key in ("hidden", "n_blocks", "max_epochs")
    }
    w_dim = setting("train_gan", "w_dim", wildcards)
    weights = get["n_blocks"] * get["hidden"] * (3 * w_dim + 2 * get["hidden"])
    n = setting("sample_styles", "n_styles", wildcards)
    epochs = min(get["max_epochs"], 100)  # early stopping; flows of the demo stop at 10
    return asked_minutes(compute_seconds(6 * weights * n * epochs / 1e9), attempt)


def search_runtime(wildcards, attempt):
    """Of one shard of a search."""
    images = -(-n_cells(wildcards, "evaluation") // RUN["shards"])
    passes = SEARCH_PASSES * max(search_steps(wildcards), 1)
    gflop = images * passes * generator_gflop(wildcards)
    return asked_minutes(compute_seconds(gflop), attempt)


def sweep_runtime(wildcards, attempt):
    """Of the grid of lambdas on a few cells."""
    get = {
        key: setting("sweep_lambdas", key, wildcards)
        for key in ("n_cells", "lambdas_w", "lambdas_c")
    }
    images = get["n_cells"] * (len(get["lambdas_w"]) + len(get["lambdas_c"]))
    gflop = (
        images * SEARCH_PASSES * search_steps(wildcards) * generator_gflop(wildcards)
    )
    return asked_minutes(compute_seconds(gflop), attempt)


def solutions_runtime(wildcards, attempt):
    """Of several solutions of some cells of two splits."""
    cells, each = (
        setting("sample_solutions", key, wildcards)
        for key in ("cells_per_split", "n_solutions")
    )
    passes = SEARCH_PASSES * search_steps(wildcards)
    gflop = 2 * cells * each * passes * generator_gflop(wildcards)
    return asked_minutes(compute_seconds(gflop), attempt)


def trust_runtime(wildcards, attempt):
    """Of searches through the model's own unseen cells, at every factor."""
    steps = config["methods"]["rls"]["steps"]
    images = n_cells(wildcards, "tune", "evaluation") * len(RUN["factors"])
    gflop = images * SEARCH_PASSES * steps * generator_gflop(wildcards)
    return asked_minutes(compute_seconds(gflop), attempt)


def wide_runtime(wildcards, attempt):
    """Of tables and figures."""
    return asked_minutes(DRAW_S_PER_IMAGE * wide(wildcards), attempt)
