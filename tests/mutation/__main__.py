"""Run a campaign of mutants; tests/mutation/README.md says how.

python -m tests.mutation --sample 360 --seed 1 --jobs 2 [--files ...] [--only survivors.csv]
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from tests.conftest import ROOT
from tests.mutation.campaign import COLUMNS, read, run
from tests.mutation.mutants import Mutant, mutants_of, sample
from tests.mutation.reach import record

SURVIVORS = ROOT / "tests" / "mutation" / "survivors.csv"


def main() -> None:
    """Record which tests reach what, run the mutants, and print the table."""
    args = _arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    reach = record(args.folder, args.jobs)
    mutants = named_in(args.only) if args.only else sample(args.sample, args.seed, args.files)
    if args.only and args.files:
        mutants = [mutant for mutant in mutants if mutant.file in args.files]
    run(mutants, reach, args.folder, args.jobs, wide=False)
    rows = read(args.folder / "results.csv")
    left = {_name(row) for row in rows if row["outcome"] in ("survived", "unreached")}
    survivors = [mutant for mutant in mutants if mutant.name in left - equivalent()]
    if not args.narrow:
        run(survivors, reach, args.folder, args.jobs, wide=True)
    print_table(args.folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=360, help="about how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--files", nargs="*", default=(), help="only these files of the program")
    parser.add_argument("--only", type=Path, help="a table of mutants to run instead of a sample")
    parser.add_argument("--narrow", action="store_true", help="run the quickest tests alone")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/mutation"), help="results; go on where they end"
    )
    return parser.parse_args()


def _name(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in COLUMNS[:5])


def equivalent() -> set[tuple[str, ...]]:
    """Return the names of the mutants of survivors.csv that change nothing a test could see."""
    return {_name(row) for row in read(SURVIVORS) if row["verdict"] == "equivalent"}


def named_in(table: Path) -> list[Mutant]:
    """Return the mutants that a table names, and print those whose line is no longer there."""
    wanted = [_name(row) for row in read(table)]
    found = {
        mutant.name: mutant
        for file in dict.fromkeys(name[0] for name in wanted)
        for mutant, _ in mutants_of(file)
    }
    for name in wanted:
        if name not in found:
            print(f"no longer there: {name[0]} {name[1]}: {name[2]}")
    return [found[name] for name in wanted if name in found]


def print_table(folder: Path) -> None:
    """Print per file how many mutants were killed, are equivalent by survivors.csv, or survived."""
    harmless = equivalent()
    later = {_name(row): row["outcome"] for row in read(folder / "results_wide.csv")}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in read(folder / "results.csv"):
        outcome = later.get(_name(row), row["outcome"])
        kind = "killed" if outcome in ("killed", "timeout") else "survived"
        if kind == "survived" and _name(row) in harmless:
            kind = "equivalent"
        counts[row["file"]][kind] += 1
    print("| File | Mutants | Killed | Equivalent | Survived |\n|---|---:|---:|---:|---:|")
    for file, found in sorted(counts.items()):
        print(_line(f"`{file}`", found))
    total = sum(counts.values(), Counter())
    print(_line("all", total))
    share = total["killed"] / max(1, total["killed"] + total["survived"])
    print(f"\n{100 * share:.1f} % of those that are not equivalent are killed.")


def _line(name: str, found: Counter[str]) -> str:
    numbers = (found.total(), found["killed"], found["equivalent"], found["survived"])
    return f"| {name} | " + " | ".join(map(str, numbers)) + " |"


if __name__ == "__main__":
    main()
