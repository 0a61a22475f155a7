# Checks the configuration and makes what rules ask: files, arguments, and what a job asks for. The
# logic is in analysis/run, typed and tested. No rule.
import os
import sys
import uuid
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))
from analysis.run import checks, paths
from analysis.run.arguments import Arguments, optional
from analysis.run.files import SWEPT, Files
from analysis.run.rates import Rates
from analysis.run.requests import Requests
from analysis.run.sizes import Sizes
from analysis.run.sources import sources
from rls.io.names import RESERVED_METHODS, SOLUTION_KINDS
from rls.runtime.errors import InputError


envvars:
    "PATH",


try:
    checks.check(config)
    files = Files(config, workflow.basedir)
except InputError as error:
    raise WorkflowError(str(error))
arguments = Arguments(config, files)
asks = Requests(config, Sizes(config), Rates.read())

# The commands run with this Python and find the program from any --directory.
os.environ.update(
    PYTHONPATH=str(workflow.basedir),
    PYTHONUNBUFFERED="1",
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
)
# How long work stops and goes on: workflow/README.md. It stands in the environment and not in
# params, since no result depends on it. Jobs inherit the name of the run; a cluster may requeue.
os.environ.setdefault("RLS_RUN", uuid.uuid4().hex)
if config["stop_after_minutes"] is not None:
    os.environ.update(RLS_STOP_AFTER_MINUTES=str(config["stop_after_minutes"]))
if workflow.remote_exec:
    os.environ.update(RLS_REQUEUE="1")


wildcard_constraints:
    assay="|".join(config["assays"]),
    plate=r"[^/]+",
    factor=r"\d+",
    degradation="|".join(config["degradations"]),
    method="|".join(config["methods"]),
    stack="|".join([*RESERVED_METHODS, *config["methods"]]),
    kind="|".join(SOLUTION_KINDS),


scattergather:
    shard=config["run"]["shards"],
