"""Solutions are measured as any image is, each row with whose it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import measure_solutions
from rls.io import read_table, write_intensity, write_stack
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS, stack_of_cells
from tests.analysis.test_measure import INTENSITY, OPTIONS, call, flags


def write(folder, drop=(), lost=()):
    images, table, truth = stack_of_cells(8)
    long = table.loc[table.index.repeat(3)].reset_index(drop=True)
    long = long.rename(columns={"image_id": "source_image_id"}).assign(
        solution=np.tile([1, 2, 3], 8), n_solutions=3, method="rls", kind="restarts",
        loss_fidelity=0.01,
    )  # fmt: skip
    long.insert(0, "image_id", long["source_image_id"] + "_k" + long["solution"].astype(str))
    stack = np.repeat(images, 3, axis=0).astype(np.float32)
    stack[1] = INTENSITY.black[0]  # the second solution of the first cell is empty
    kept = ~long.index.isin(lost)
    write_stack(
        folder / "rls.ome.tif", stack[kept], long[kept].drop(columns=list(drop)),
        channels=CHANNELS, pixel_size_um=1.0, written_by="sample_solutions",
    )  # fmt: skip
    write_intensity(folder / "intensity.json", INTENSITY, written_by="select_cells")
    return pd.Series(table["image_id"])


def measure(folder, **changes):
    call(
        measure_solutions.main, "--stack", folder / "rls.ome.tif",
        "--intensity", folder / "intensity.json", "--nucleus-channel", "dna",
        "--marker-channel", "nfkb", "--features", "nucleocytoplasmic_ratio",
        "--output", folder / "rls.features.parquet", *flags({**OPTIONS, **changes}),
    )  # fmt: skip
    return read_table(folder / "rls.features.parquet")


def test_each_solution_has_its_features_and_says_whose_it_is(tmp_path):
    ids = write(tmp_path)
    table = measure(tmp_path)
    assert len(table) == 24 and list(table["source_image_id"]) == list(ids.repeat(3))
    ratio = table.pivot(index="source_image_id", columns="solution",
                        values="nucleocytoplasmic_ratio").loc[ids]  # fmt: skip
    # the three are the same image, but for the one that is empty
    assert np.isnan(ratio[2].iloc[0]) and table["status"].iloc[1].startswith("not_measurable")
    assert ratio[1].to_numpy() == pytest.approx(ratio[3].to_numpy())
    assert ratio[1].nunique() > 1 and {"loss_fidelity", "split", "well"} <= set(table.columns)
    # nor does it matter how many are measured at once
    pd.testing.assert_frame_equal(table, measure(tmp_path, batch_size=5))


@pytest.mark.parametrize(
    ("change", "said"), [({"drop": ("source_image_id",)}, "holds no solutions"),
                         ({"lost": (4,)}, "2 solutions")],
)  # fmt: skip
def test_a_stack_that_is_not_of_whole_solutions_is_refused(tmp_path, change, said):
    write(tmp_path, **change)
    with pytest.raises(InputError, match=said):
        measure(tmp_path)
