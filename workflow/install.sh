#!/bin/sh
# Make .venv with the first Python found that the program runs on; PYTHON=... chooses another.
# VERSIONS=locked (the default) installs requirements.lock; oldest and newest install either end of
# the ranges in pyproject.toml, for continuous integration.
set -e
if [ -L .venv ]; then # --clear would empty the folder that it points to
    echo "error: .venv is a link. Remove it, or run with that folder's bin first in PATH and no .venv here." >&2
    exit 1
fi
for python in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        echo "Installing into .venv with $("$python" --version) (about 2.5 GB, a few minutes, once) ..."
        "$python" -m venv --clear .venv
        wanted=requirements.lock
        if [ "${VERSIONS:-locked}" != locked ]; then
            end=highest
            [ "$VERSIONS" = oldest ] && end=lowest-direct
            wanted=.venv/requirements.txt
            .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
            .venv/bin/uv pip compile --quiet --resolution $end --extra test pyproject.toml -o $wanted
        fi
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r $wanted
        .venv/bin/python -m pip check >/dev/null || { .venv/bin/python -m pip check; exit 1; }
        exit 0
    fi
done
echo "error: Python 3.11, 3.12 or 3.13 is needed, and none was found. Install one, or give PYTHON=/path/to/python." >&2
exit 1
