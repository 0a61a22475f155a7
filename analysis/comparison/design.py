"""The facts and warnings under Table 2: what may be concluded from the accuracies of an assay.

A classifier tells wells apart, whatever makes them differ. The difference can be ascribed to the
treatment only where each control has several wells at positions that change from plate to plate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.comparison.long_table import Row
from analysis.numbers.statistics import WELLS_FOR_SCREENING
from analysis.run.description import Comparison, Run
from rls.io import read_table, table_path
from rls.io.splits import CHOOSE, CLASSIFY, REPORT

COLUMNS = ("image_id", "plate", "well", "treatment", "split")
WELLS = ("n_wells_negative_control", "n_wells_positive_control")
PLATES_SHARED = "n_plates_shared_with_training"
WELLS_SHARED = "n_wells_shared_with_training"  # a row of Table 2, and a column of every table
WELL_CONFOUNDED = "well_confounded_with_treatment"
POSITION_CONFOUNDED = "position_confounded_with_treatment"
WARNINGS = (WELL_CONFOUNDED, POSITION_CONFOUNDED)
WELLS_NAMED = 4


def read_cells(at: Comparison) -> pd.DataFrame:
    """Return one row per cell of all splits but gan, from the LR stack where no HR exists."""
    return read_table(table_path(at.stack(at.reference)), columns=COLUMNS)


def design_facts(cells: pd.DataFrame, controls: Sequence[str]) -> Iterator[Row]:
    """Yield arguments of ``long_row``: wells of each control, shared plates and wells, confounding.

    A warning has the value 1 where it applies, with a sentence as its reason, and otherwise 0.

    Arguments:
        cells: One row per cell with :data:`COLUMNS`.
        controls: The negative and the positive control.
    """
    cells = _of_controls(cells, controls)
    training = cells[cells["split"].isin((*CLASSIFY.splits, *CHOOSE.splits))]
    evaluation = cells[cells["split"].isin(REPORT.splits)]
    for metric, control in zip(WELLS, controls, strict=True):
        here = evaluation[evaluation["treatment"] == control]
        yield {
            "metric": metric,
            "treatment": control,
            "value": float(len(wells_of(here))),
            "n": len(here),
            "unit": "cell",
            "reason": _named(wells_of(here)),
        }
    plates = set(evaluation["plate"])
    shared = plates & set(training["plate"])
    text = "" if shared else "Evaluation uses plates on which no classifier was trained or chosen"
    yield {
        "metric": PLATES_SHARED,
        "value": float(len(shared)),
        "n": len(plates),
        "unit": "plate",
        "reason": text,
    }
    wells = shared_wells(cells)
    yield {
        "metric": WELLS_SHARED,
        "value": float(len(wells)),
        "n": len(wells_of(evaluation)),
        "unit": "well",
        "reason": _named(wells) if wells else "",
    }
    yield _well_warning(training, evaluation, controls)
    yield _position_warning(training, evaluation, controls)


def shared_wells(cells: pd.DataFrame) -> list[str]:
    """Return the wells of evaluation that the classifiers' training or choice saw too, sorted."""
    evaluation = cells["split"].isin(REPORT.splits)
    trained = cells["split"].isin((*CLASSIFY.splits, *CHOOSE.splits))
    return sorted(set(wells_of(cells[evaluation])) & set(wells_of(cells[trained])))


def with_shared_wells(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return a long table with the column :data:`WELLS_SHARED`.

    Splits by field or tile may put cells of one well into training and evaluation. Such cells are
    more alike than those of another well, so numbers of evaluation look better than of new wells.

    Arguments:
        table: Rows of the run's comparisons.
    """
    firsts = {at.assay.name: at for at in reversed([*run.comparisons(clean_only=True)])}
    cells = {name: _of_controls(read_cells(at), at.assay.treatments) for name, at in firsts.items()}
    counts = {name: len(shared_wells(part)) for name, part in cells.items()}
    return table.assign(**{WELLS_SHARED: table["assay"].map(counts)})


def shared_sentence(part: pd.DataFrame) -> str:
    """Return what the wells shared with training mean, for the rows of a comparison; '' for 0."""
    if WELLS_SHARED not in part or not (part[WELLS_SHARED] > 0).any():
        return ""
    return (
        f"{int(part[WELLS_SHARED].max())} evaluation wells also hold cells on which classifiers "
        f"were fitted or chosen (split_by: {part['split_by'].iloc[0]}), so the numbers of new "
        "wells would be worse."
    )


def _of_controls(cells: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    return cells[cells["treatment"].isin(controls)]


def wells_of(cells: pd.DataFrame) -> list[str]:
    """Return the wells as plate/well, sorted."""
    return sorted(set(cells["plate"].astype(str) + "/" + cells["well"].astype(str)))


def _well_warning(training: pd.DataFrame, evaluation: pd.DataFrame, controls: Sequence[str]) -> Row:
    """Warn where a control has too few wells for a standard deviation over wells."""
    counts = []
    for part, name in ((training, "training and choice"), (evaluation, "evaluation")):
        wells = [wells_of(part[part["treatment"] == control]) for control in controls]
        if min(map(len, wells)) < WELLS_FOR_SCREENING:
            each = " and ".join(
                f"{control} has {len(own)} well{'s' * (len(own) != 1)} ({_named(own)})"
                for control, own in zip(controls, wells, strict=True)
            )
            counts.append(f"in {name} {each}")
    if not counts:
        return {"metric": WELL_CONFOUNDED, "value": 0.0}
    text = "; ".join(counts)
    return {
        "metric": WELL_CONFOUNDED,
        "value": 1.0,
        "reason": (
            f"{text[0].upper()}{text[1:]}: the effect of a well cannot be told from that of its "
            f"treatment, and intervals leave out the differences between wells. This is a "
            f"demonstration, from which no biological claim follows"
        ),
    }


def _position_warning(
    training: pd.DataFrame, evaluation: pd.DataFrame, controls: Sequence[str]
) -> Row:
    """Warn where every evaluated position held the same control in training, never the other."""
    seen, tested = (
        [set(part.loc[part["treatment"] == control, "well"]) for control in controls]
        for part in (training, evaluation)
    )
    other_plates = not set(training["plate"]) & set(evaluation["plate"])
    same = all(own and own <= known for own, known in zip(tested, seen, strict=True))
    apart = not (seen[0] | tested[0]) & (seen[1] | tested[1])
    if not (other_plates and same and apart):
        return {"metric": POSITION_CONFOUNDED, "value": 0.0}
    where = ", ".join(
        f"{control} in {_named(sorted(own))}" for control, own in zip(controls, tested, strict=True)
    )
    return {
        "metric": POSITION_CONFOUNDED,
        "value": 1.0,
        "reason": (
            f"The controls lie at the same positions on the plates of training and of evaluation "
            f"({where}): a classifier may have learned the position, with its illumination and "
            f"its distance from the edge, instead of the treatment"
        ),
    }


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - WELLS_NAMED} more" if len(names) > WELLS_NAMED else ""
    return ", ".join(names[:WELLS_NAMED]) + more if names else "none"
