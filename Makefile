# make demo, make test: both make .venv from the lock first. make help lists the rest.
.DEFAULT_GOAL := help
.PHONY: article article-small example-plates check status plan weights help demo demo-train demo-from-scratch generators all-methods data-or-prior transfer bbbc014 beside mechanism table1-bbbc021 bbbc021-demonstration test docs test-docs test-slow test-planted fuzz mutants test-gpu test-ranges test-cluster lint schema unlock clean

CORES ?= $(shell nproc)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
PROFILE ?= workflow/profiles/local
WORKFLOW := snakemake --snakefile Snakefile --workflow-profile workflow/profiles/local --cores $(CORES)

help:  ## print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | column -ts "$$(printf '\t')"

article: .venv/installed  ## the whole article: plan and checks first, then one question (YES=1 answers); on Slurm PROFILE=workflow/profiles/slurm; DRY_RUN=1 for the plan alone
article: CONFIGS := config/article.yaml

article-small: .venv/installed  ## the same tables and figures, small and simulated, without a network (about an hour of two cores by its plan)
article-small: CONFIGS := config/article.yaml config/article_small.yaml
article-small: YES := 1

article article-small: FOLDER = runs/$@

article article-small:
	@python -m analysis.preflight --configfile $(CONFIGS) --directory $(FOLDER) --profile $(PROFILE) --cores $(CORES) $(if $(MACHINE),--machine "$(MACHINE)") $(if $(YES),--yes) $(if $(DRY_RUN),--plan)
	@snakemake --snakefile Snakefile --workflow-profile $(PROFILE) $(if $(filter %local,$(PROFILE)),--cores $(CORES)) --configfile $(CONFIGS) --directory $(FOLDER) $(if $(DRY_RUN),--dry-run --quiet rules)
	@$(if $(DRY_RUN),,cd $(FOLDER) && python -m analysis.headline --results results --report results/report.html)
	@$(if $(DRY_RUN),,python -m analysis.plan.measure --check $(FOLDER) $(CONFIGS))

demo: .venv/installed  ## simulated plates to report, with the small generators under models/ (minutes)
	@$(WORKFLOW) --configfile config/demo.yaml --directory runs/demo
	@cd runs/demo && python -m analysis.headline --results results --report results/report.html

demo-train: .venv/installed  ## the same with training: its generators go on for half a minute each, flows and encoders are made (minutes)
	@$(WORKFLOW) --configfile config/demo.yaml config/demo_train.yaml --directory runs/demo_train
	@cd runs/demo_train && python -m analysis.headline --results results --report results/report.html

demo-from-scratch: .venv/installed  ## the same with its generators trained from nothing (an hour or two)
	@$(WORKFLOW) --configfile config/demo.yaml config/demo_from_scratch.yaml --directory runs/demo_from_scratch
	@cd runs/demo_from_scratch && python -m analysis.headline --results results --report results/report.html

generators: .venv/installed  ## models/ trained anew: ONLY=golgi_64px, LIMIT=60 (minutes), DRY_RUN=1 for the plan alone (hours on CPUs)
	@$(if $(LIMIT),RLS_STOP_AFTER_MINUTES=$(LIMIT) )python -m analysis.generators --cores $(CORES) $(if $(ONLY),--only $(ONLY)) $(if $(DRY_RUN),--dry-run)

all-methods: .venv/installed  ## every method and ablation on the demo's cells, at two factors (an hour)
	@$(WORKFLOW) --configfile config/demo.yaml config/all_methods.yaml --directory runs/all_methods
	@cd runs/all_methods && python -m analysis.headline --results results --report results/report.html

mechanism: .venv/installed  ## mechanisms of action of real cells in RLS_REAL_DATA, two folds with their own generators (a day of one core; goes on)
	@$(WORKFLOW) --configfile config/bbbc021_crops.yaml config/mechanism.yaml --directory runs/mechanism mechanism figure_mechanism

table1-bbbc021: .venv/installed  ## Table 1 and Fig. 2 on the same cells, every method, in the same run (hours)
	@$(WORKFLOW) --configfile config/bbbc021_crops.yaml config/mechanism.yaml config/table1_bbbc021.yaml --directory runs/mechanism table1 figure2

data-or-prior: .venv/installed  ## generators of 0 to 90 % treated cells: what of a reconstruction is data, what prior (hours)
	@$(WORKFLOW) --configfile config/demo.yaml config/demo_from_scratch.yaml config/data_or_prior.yaml --directory runs/data_or_prior data_or_prior

transfer: .venv/installed  ## generators of 50 to 1,000 cells of another assay, from a model and from nothing (hours)
	@$(WORKFLOW) --configfile config/demo.yaml config/demo_from_scratch.yaml config/transfer.yaml --directory runs/transfer transfer

beside: .venv/installed  ## simulated cells beside real ones from RLS_REAL_DATA: pictures and statistics (minutes)
	@$(WORKFLOW) --configfile config/bbbc021_crops.yaml config/beside_bbbc021.yaml --directory runs/beside results/figures/bbbc021_simulated_beside_bbbc021_crops_cells.png
	@$(WORKFLOW) --configfile config/bbbc014.yaml config/beside_bbbc014.yaml --directory runs/beside results/figures/translocation_beside_bbbc014_cells.png

bbbc014: .venv/installed  ## two real NF-kB wells in the folder that RLS_REAL_DATA names
	@$(WORKFLOW) --configfile config/bbbc014.yaml --directory runs/bbbc014
	@cd runs/bbbc014 && python -m analysis.headline --results results --report results/report.html

bbbc021-demonstration: .venv/installed  ## real cells, classifiers trained on one plate and tested on another (minutes)
	@$(WORKFLOW) --configfile config/bbbc021_demonstration.yaml --directory runs/bbbc021_demonstration
	@cd runs/bbbc021_demonstration && python -m analysis.headline --results results --report results/report.html

test: lint  ## lint, types, unit and workflow tests
	@python -m pytest -m "not slow and not docs" -n $(CORES) --dist loadfile --durations=10

test-slow: .venv/installed  ## the tests that make test leaves out: networks as torch compiles them (minutes)
	@python -m pytest -m slow -n $(CORES) --durations=10

docs: .venv/docs-installed  ## the documentation as a site, in site/: open site/index.html (a minute)
	@python -m mkdocs build

test-docs: .venv/docs-installed  ## every command and notebook of the documentation, the site and its links, in a browser if there is one (minutes)
	@python -m pytest -m docs tests/docs --durations=10

test-planted: .venv/installed  ## known faults planted one by one; the tests named for each must fail (half an hour)
	@python -m tests.planted

fuzz: .venv/installed  ## inputs of every kind, made and harmed at random: COUNT=5000 SEED=1 (300 of each: some minutes)
	@python -m tests.fuzz --count $(or $(COUNT),300) --seed $(or $(SEED),1)

test-gpu:  ## the tests that need a GPU, with any Python that has torch and pytest (two minutes)
	@python -m pytest -m gpu tests/gpu --durations=10

test-ranges: .venv/installed  ## the tests of make test without lint: VERSIONS=oldest or newest of pyproject.toml, before .venv is made
	@test "$$(cat .venv/versions)" = "$(VERSIONS)" || { echo "error: .venv has the $$(cat .venv/versions) versions. Remove it, or move it away, and run this again." >&2; exit 1; }
	@python -m pytest -m "not slow and not docs" -n $(CORES) --dist loadfile --durations=10

test-cluster: .venv/installed  ## the smoke run and three faults on a real Slurm of three nodes (Debian, root)
	@python -m tests.cluster.smoke $(IF_POSSIBLE) --faults 3 $(if $(SEED),--seed $(SEED))

mutants: .venv/installed  ## small faults planted one at a time, each of which a test must find: FILES="rls/prior/flows.py" (an hour)
	@python -c "import cosmic_ray" || { echo "error: cosmic-ray is not installed, expected it in .venv. Run pip install cosmic-ray." >&2; exit 1; }
	@python -m tests.mutation --jobs $(CORES) --seed $(or $(SEED),1) $(if $(FILES),--files $(FILES))

lint: .venv/installed  ## ruff, snakefmt, mypy, snakemake --lint
	@ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules && mypy
	@snakemake --snakefile Snakefile --configfile config/demo.yaml --directory .venv/lint --lint

schema: .venv/installed  ## write the config's schema, its description and docs/commands.md anew, from the commands' settings
	@python -m analysis.configuration --write

example-plates: .venv/installed  ## plates as a laboratory has them, to try config/my_plates.yaml on (docs/own_plates.md)
	@python -m analysis.example_plates

check: .venv/installed  ## what is wrong with your plates before anything runs: make check CONFIG=config/my_plates.yaml
	@python -m analysis.check --configfile $(or $(CONFIG),config/my_plates.yaml)

plan: .venv/installed  ## what a run would cost, running nothing: make plan CONFIG=config/demo.yaml MACHINE=H200
	@python -m analysis.plan $(if $(CONFIG),--configfile $(CONFIG)) $(if $(MACHINE),--machine "$(MACHINE)")

weights: .venv/installed  ## weights of LPIPS (VGG16, AlexNet) into your cache, for Table 1 and published BRGM (64 MB); says what cannot be fetched
	@python -m analysis.fetch_weights --config config/config.yaml $(if $(ARCHIVE),--archive $(ARCHIVE))

status: .venv/installed  ## how a run stands, what is left and what failed: make status RUN=demo
	@python -m rls status runs/$(or $(RUN),demo)

unlock: .venv/installed  ## after a killed Snakemake: make unlock RUN=demo
	@snakemake --snakefile Snakefile --configfile $(or $(wildcard config/$(RUN).yaml),config/config.yaml) --directory runs/$(RUN) --unlock

clean:  ## remove caches; never touches runs/
	@rm -rf .pytest_cache .mypy_cache .ruff_cache && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/installed: requirements.lock
	@VERSIONS=$(VERSIONS) sh -e workflow/install.sh
	@touch $@

.venv/docs-installed: .venv/installed docs/.site/requirements.lock
	@pip install --quiet --requirement docs/.site/requirements.lock
	@touch $@
