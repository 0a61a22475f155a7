"""A machine that has torch and little else, for a process and for those that it starts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import ROOT

# What a machine that is lent for training may lack.
ABSENT = (
    "cellpose", "imagecodecs", "jsonschema", "matplotlib", "nflows", "pyarrow", "scipy", "skimage",
    "sklearn", "snakemake", "tensorboard", "torchmetrics", "tqdm", "triton",
)  # fmt: skip
# Python finds None in the place of a module, and says that there is none.
HIDE = "import sys\nsys.modules.update(dict.fromkeys({absent!r}))\n"


def environment(folder: Path, *, present: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment of a process without ABSENT packages, but with those of ``present``.

    Arguments:
        folder: Where the module is written that Python imports at its start.
    """
    absent = tuple(name for name in ABSENT if name not in present)
    (folder / "sitecustomize.py").write_text(HIDE.format(absent=absent))
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
