#!/bin/sh
# Measures a machine for workflow/rates.json in two small runs, and holds its rates against three of other
# sizes. The other machines in the file stay as they are.
#   benchmarks/plan/run.sh "two cores of 2.5 GHz, torch 2.13"      about a quarter of an hour of two cores
#   benchmarks/plan/run.sh "one NVIDIA H200" cuda                  the jobs that use a GPU
# Runs that are there are not repeated. Of a processor its own time counts, so that other work matters little.
set -eu
device=${2:-cpu}
here=benchmarks/plan
shared="config/smoke.yaml $here/all.yaml"
for name in rates_16px rates_32px check_16px check_32px check_64px; do
    snakemake --snakefile Snakefile --workflow-profile workflow/profiles/local --cores 2 --quiet all \
        --configfile $shared $here/$name.yaml --directory runs/plan/$device/$name --config device="$device"
done
python -m analysis.plan.measure --machine "$1" --output workflow/rates.json \
    --run runs/plan/$device/rates_16px $shared $here/rates_16px.yaml \
    --run runs/plan/$device/rates_32px $shared $here/rates_32px.yaml
for name in check_16px check_32px check_64px; do
    echo; echo "$name"
    python -m analysis.plan.measure --machine "$1" --check runs/plan/$device/$name $shared $here/$name.yaml
done
