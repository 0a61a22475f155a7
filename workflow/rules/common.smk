# This file has no rule. It checks the configuration and makes the three objects that rules ask: for
# files, for arguments, and for resources. Their logic is in analysis/run, where it is tested.
import os
import sys
import uuid
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))
from analysis.cells.controls_of_run import controls_text, fetched_text
from analysis.run import checks, weights
from analysis.run.beside_methods import beside_reconstructions
from analysis.run.arguments import Arguments, given
from analysis.run.classifiers import own_classifier
from analysis.run.exports import fetch_message, measured_features, zarr_cells
from analysis.run.files import SWEPT, Files, table_beside
from analysis.run.on_pairs import trained_on_pairs
from analysis.run.rates import Machine
from analysis.run.requests import Requests
from analysis.run.sizes import Sizes
from analysis.run.sources import sources
from analysis.run.targets import check_targets, figures, norms_assay, tables
from analysis.run.trained import generators, kept_features
from analysis.run.values import fill_assays
from analysis.watching.job_rate import lift_job_rate
from analysis.watching.sessions import print_failures
from analysis.watching.started import note_start
from rls.io.names import RESERVED_METHODS, SEARCHES, SOLUTION_KINDS, WITHOUT_IMAGES
from rls.prior.settings import FLOWS
from rls.runtime.command import VARIABLES
from rls.runtime.errors import InputError
from rls.runtime.places import python_path
from rls.runtime.yaml_file import YamlFile


envvars:
    "PATH",


try:
    written = [YamlFile.read(path) for path in workflow.configfiles]
    fill_assays(config)
    checks.check(config, written)
    check_targets(sys.argv[1:], config, written)
    decided = weights.settle(config, workflow.basedir, os.environ)
    files = Files(config, workflow.basedir)
except InputError as error:
    raise WorkflowError(str(error))
for sentence in decided:
    print(sentence, file=sys.stderr)
arguments = Arguments(config, files)
asks = Requests(config, Sizes(config), Machine.read(device=config["device"]))

# Commands run with this Python, and find the program from any --directory.
os.environ.update(
    PYTHONPATH=python_path(),
    PYTHONUNBUFFERED="1",
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
)
# workflow/README.md says how long jobs stop in time and go on. The limit and some settings stand in
# the environment and not in params, since no result depends on them. Jobs inherit the name of the
# run, and those on a cluster may be requeued.
os.environ.setdefault("RLS_RUN", uuid.uuid4().hex)
os.environ.update({VARIABLES[key]: config[key] for key in ("cuda_graphs", "compile")})
os.environ.update(RLS_CONTROLS=controls_text(config["assays"]))
os.environ.update(RLS_FETCHED=fetched_text(config["assays"]))
if config["stop_after_minutes"] is not None:
    os.environ.update(RLS_STOP_AFTER_MINUTES=str(config["stop_after_minutes"]))
if workflow.remote_exec:
    os.environ.update(RLS_REQUEUE="1")


# What rls status reads, and what is said when jobs have failed (analysis/watching).
onstart:
    note_start(
        workflow.config_settings.configfiles,
        workflow.config_settings.config,
        workflow.dag_settings.targets,
    )
    if workflow.local_exec:
        lift_job_rate(workflow.scheduler)


onerror:
    print_failures(log)


wildcard_constraints:
    assay="|".join(config["assays"]),
    plate=r"[^/]+",
    factor=r"\d+",
    degradation="|".join(config["degradations"]),
    method="|".join(config["methods"]),
    stack="|".join([*RESERVED_METHODS, *config["methods"]]),
    kind="|".join([*SOLUTION_KINDS, SEARCHES]),
    flow="|".join(FLOWS),
    regression="|".join(WITHOUT_IMAGES),


scattergather:
    shard=config["run"]["shards"],
