"""Decide which plates serve which split where the configuration names them.

``select_cells.plates_gan`` to ``plates_evaluation``, one key for each split, name plates, so that
an assay can be trained on some plates and tested on others. A plate serves the splits that name it;
a plate that no split names serves the splits with a share that name no plate. A plate of evaluation
serves no other split, because the test must be on plates of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rls.io.names import EVALUATION


def faults(named: Mapping[str, Sequence[str]], plates: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each fault in ``named`` ({split: names}) of an assay with ``plates``."""
    for split, names in named.items():
        key = f"select_cells.plates_{split}"
        unknown = sorted(set(names) - set(plates))
        if unknown:
            yield (
                f"{key} names {', '.join(unknown)}, which is no plate of the assay; its plates are "
                f"{', '.join(sorted(plates)[:12])}. Correct the name."
            )
        twice = sorted({name for name in names if list(names).count(name) > 1})
        if twice:
            yield f"{key} names {', '.join(twice)} twice. Name each plate once."
        both = sorted(set(names) & set(named.get(EVALUATION, ())))
        if both and split != EVALUATION:
            yield (
                f"{key} and select_cells.plates_evaluation both name {', '.join(both)}; what is "
                f"tested must be of plates that nothing was trained or chosen on. Take it out of "
                f"one of them."
            )


def splits_of_plate(
    named: Mapping[str, Sequence[str]], shares: Mapping[str, float], plate: str
) -> tuple[str, ...]:
    """Return the splits that ``plate`` serves.

    Arguments:
        shares: {split: share}; a split without a share takes only plates that it names.
    """
    own = tuple(split for split, names in named.items() if plate in names)
    return own or tuple(split for split, names in named.items() if not names and shares[split] > 0)
