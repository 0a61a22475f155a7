"""Check on a GPU that the program computes there what it computes elsewhere, and how fast.

Each part runs in a process of its own, because a CUDA graph that fails leaves its process of no
use. Every check prints "ok" or "FAILED" with its numbers; what is measured without an expectation
says "measured", and what could not be done "left out". The table at the end sets the time of a
step beside the least time that was calculated for an H200. The status is 1 if a check failed.

    python -m benchmarks.gpu_check                       # under four minutes
    python -m benchmarks.gpu_check --compiled            # compiled networks: under ten minutes
    python -m benchmarks.gpu_check --parts fir,search --output found.json
    python -m benchmarks.gpu_check --device cpu          # tiny: tests the check, measures nothing

It needs torch, numpy, pandas, PyYAML, tifffile, Pillow and safetensors. It reads no data.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_check.report import FAILED, LEFT_OUT, OK, Report, entry, line, table


class Part(NamedTuple):
    """A part of the check.

    Attributes:
        module, function: What it runs.
        seconds: What it was planned to take on an H200, with the start of its process.
        compiled: Whether it belongs to --compiled.
    """

    module: str
    function: str
    seconds: float
    compiled: bool = False


PARTS = {
    "fir": Part("fir", "run", 25),
    "small": Part("small", "run", 55),
    "search": Part("search", "run", 45),
    "article128": Part("article", "run_128", 45),
    "convolutions": Part("convolutions", "run", 30),
    "article32": Part("article", "run_32", 30),
    "compiled_small": Part("compiled", "run_small", 150, True),
    "compiled_search": Part("compiled", "run_search", 130, True),
    "compiled_article": Part("compiled", "run_article", 300, True),
}
LIMIT_S = {False: 235.0, True: 590.0}  # of all parts, without and with --compiled
CACHE = Path.home() / ".cache" / "rls_gpu_check"  # kept, because compiling takes minutes
INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def main() -> None:
    """Run the parts, print the table, and exit with 1 if a check failed."""
    args = arguments()
    if args.only:
        return one_part(args)
    if args.device == "cuda":
        import torch  # Imported here, because --help need not wait for it.

        if not torch.cuda.is_available():
            sys.exit(
                f"torch {torch.__version__} finds no CUDA device here, so nothing can be checked; "
                "--device cpu runs the same code with tiny networks, to test the check itself."
            )
    os.environ.setdefault(INDUCTOR, str(CACHE / "inductor"))
    if args.compiled:
        print(f"compiled kernels are kept in {os.environ[INDUCTOR]} ({INDUCTOR})", flush=True)
    started = time.monotonic()
    limit = args.seconds or LIMIT_S[args.compiled]
    results = []
    for name in args.parts:
        left = limit - (time.monotonic() - started)
        results.append(in_a_process(name, left, args))
    taken = time.monotonic() - started
    failed = summary(results, taken)
    if args.output:
        args.output.write_text(json.dumps({"seconds": taken, "parts": results}, indent=1) + "\n")
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--compiled", action="store_true", help="the parts with compiled networks")
    parser.add_argument("--quick", action="store_true", help="repeat less, count no kernels")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, help="limit of all parts together")
    parser.add_argument("--output", type=Path, help="JSON with everything that was found")
    parser.add_argument("--only", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.parts:
        args.parts = args.parts.split(",")
        if unknown := set(args.parts) - set(PARTS):
            parser.error(f"unknown part {unknown.pop()}; expected some of {', '.join(PARTS)}")
    else:
        args.parts = [name for name, part in PARTS.items() if part.compiled == args.compiled]
    return args


def in_a_process(name: str, left: float, args: argparse.Namespace) -> dict[str, Any]:
    """Run a part in a process of its own and return what it reported."""
    part = PARTS[name]
    print(f"\n== {name}", flush=True)
    if left < part.seconds / 2:
        why = f"{max(left, 0):.0f} s are left, and it takes about {part.seconds:.0f} s"
        return alone(name, LEFT_OUT, "this part", why)
    # A part may take longer than planned, as far as the time is not needed by others.
    most = min(left, 2 * part.seconds)
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--only", name]
        command += ["--device", args.device, "--report", str(file), "--seconds", str(part.seconds)]
        process = subprocess.Popen(command + ["--quick"] * args.quick, start_new_session=True)
        try:
            status = process.wait(timeout=most)
            fault = f"its process ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            fault = f"it took longer than {most:.0f} s and was ended"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            process.wait()
        found = read_report(file, name)
    if fault:
        print(line(FAILED, f"{name} runs to its end", fault), flush=True)
        found["found"].append(entry(FAILED, f"{name} runs to its end", fault, {}))
    return found


def read_report(file: Path, name: str) -> dict[str, Any]:
    """Return what a part wrote, which may have died before it wrote anything."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {"part": name, "seconds": 0.0, "machine": {}, "found": [], "rows": []}


def alone(name: str, what: str, text: str, said: str) -> dict[str, Any]:
    """Print and return the only finding of a part that did not run."""
    print(line(what, text, said), flush=True)
    found = [entry(what, text, said, {})]
    return {"part": name, "seconds": 0.0, "machine": {}, "found": found, "rows": []}


def summary(results: Sequence[dict[str, Any]], taken: float) -> int:
    """Print the table and the counts; return how many checks failed."""
    rows = [row for result in results for row in result["rows"]]
    if rows:
        print(f"\n{table(rows)}")
        print("floor: the least time calculated for one H200; for an H100 up to 1.4 times that")
    found = [one for result in results for one in result["found"]]
    counts = {what: sum(one["what"] == what for one in found) for what in (OK, FAILED, LEFT_OUT)}
    for result in results:
        for one in result["found"]:
            if one["what"] == FAILED:
                print(f"{result['part']}: {line(FAILED, one['name'], one['said'])}")
    said = next((r["machine"]["said"] for r in results if r["machine"]), "no part began")
    print(f"\n{said}")
    print(
        f"{counts[OK]} checks ok, {counts[FAILED]} failed, {counts[LEFT_OUT]} left out, "
        f"in {taken:.0f} s"
    )
    return counts[FAILED]


def one_part(args: argparse.Namespace) -> None:
    """Be the process of one part."""
    part = PARTS[args.only]
    report = Report(args.only, args.report, args.seconds)
    try:
        import torch

        from benchmarks.gpu_check.cases import Machine

        device = torch.device(args.device)
        report.machine = machine_of(device)
        print(report.machine["said"], flush=True)
        # As the commands set it: float32 keeps all digits where nobody asks for less.
        torch.backends.cudnn.allow_tf32 = False
        module = importlib.import_module(f"benchmarks.gpu_check.{part.module}")
        getattr(module, part.function)(
            Machine(device, tiny=args.device == "cpu", quick=args.quick), report
        )
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        report.check(f"{args.only} runs to its end", False, f"{type(error).__name__}: {first}")
    report.save()


def machine_of(device: Any) -> dict[str, str]:
    """Return what the machine is, and in one line."""
    import torch

    found = {
        "card": "none, tiny networks on a CPU",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["card"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
        with contextlib.suppress(ImportError):
            found["triton"] = importlib.import_module("triton").__version__
    rest = ", ".join(f"{key} {value}" for key, value in found.items() if key != "card")
    return {**found, "said": f"card: {found['card']}; {rest}"}


if __name__ == "__main__":
    main()
