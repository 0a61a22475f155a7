#!/bin/sh
# Make .venv from requirements.lock with the first Python 3.11 or 3.12 found; PYTHON=... chooses another.
set -e
if [ -L .venv ]; then # --clear would empty the folder that it points to
    echo "error: .venv is a link. Remove it, or run with that folder's bin first in PATH and no .venv here." >&2
    exit 1
fi
for python in "${PYTHON:-python3}" python3.11 python3.12; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
        echo "Installing into .venv with $("$python" --version) (about 2.5 GB, a few minutes, once) ..."
        "$python" -m venv --clear .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
        .venv/bin/python -m pip check >/dev/null || { .venv/bin/python -m pip check; exit 1; }
        exit 0
    fi
done
echo "error: Python 3.11 or 3.12 is needed, and neither was found. Install one, or give PYTHON=/path/to/python." >&2
exit 1
