#!/bin/sh
# Measures workflow/rates.json in two small runs and holds it against three of other sizes.
#   benchmarks/plan/run.sh "two cores of 2.5 GHz, torch 2.13"      about a quarter of an hour of two cores
# Runs that are there are not repeated. Processor time counts, so that a busy machine matters little.
set -eu
here=benchmarks/plan
shared="config/smoke.yaml $here/all.yaml"
for name in rates_16px rates_32px check_16px check_32px check_64px; do
    snakemake --snakefile Snakefile --workflow-profile workflow/profiles/local --cores 2 --quiet all \
        --configfile $shared $here/$name.yaml --directory runs/plan/$name
done
python -m analysis.plan.measure --machine "$1" --output workflow/rates.json \
    --run runs/plan/rates_16px $shared $here/rates_16px.yaml \
    --run runs/plan/rates_32px $shared $here/rates_32px.yaml
for name in check_16px check_32px check_64px; do
    echo; echo "$name"
    python -m analysis.plan.measure --check runs/plan/$name $shared $here/$name.yaml
done
