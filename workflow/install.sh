#!/bin/sh
# Make .venv with the first Python found that fits; PYTHON=... chooses another.
# VERSIONS=locked (the default) installs requirements.lock, for which numpy has wheels up to Python 3.12.
# oldest and newest install either end of the ranges in pyproject.toml, for continuous integration; the
# newest numpy is taken against the wish of Cellpose, which asks for less than 2.1.
set -e
if [ -L .venv ]; then # --clear would empty the folder that it points to
    echo "error: .venv is a link. Remove it, or run with that folder's bin first in PATH and no .venv here." >&2
    exit 1
fi
latest=12
[ "${VERSIONS:-locked}" = newest ] && latest=13
for python in "${PYTHON:-python3}" python3.$latest python3.11 python3.12; do
    if "$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $latest))" 2>/dev/null; then
        echo "Installing into .venv with $("$python" --version) (about 2.5 GB, a few minutes, once) ..."
        "$python" -m venv --clear .venv
        echo "${VERSIONS:-locked}" >.venv/versions
        pip=".venv/bin/python -m pip --quiet --disable-pip-version-check"
        if [ "${VERSIONS:-locked}" != locked ]; then
            end=lowest-direct
            : >.venv/overrides.txt
            if [ "$VERSIONS" = newest ]; then
                end=highest
                echo "numpy>=2.1" >.venv/overrides.txt
            fi
            $pip install uv
            .venv/bin/uv pip compile --quiet --python .venv/bin/python --resolution $end --extra test \
                --override .venv/overrides.txt pyproject.toml -o .venv/requirements.txt
            $pip install --no-deps -r .venv/requirements.txt
            exit 0
        fi
        $pip install -r requirements.lock
        .venv/bin/python -m pip check >/dev/null || { .venv/bin/python -m pip check; exit 1; }
        # The command rls of this checkout, for a shell in which .venv is active.
        printf '#!/bin/sh\nPYTHONPATH="%s${PYTHONPATH:+:$PYTHONPATH}" exec "%s/.venv/bin/python" -m rls "$@"\n' "$PWD" "$PWD" >.venv/bin/rls
        chmod +x .venv/bin/rls
        exit 0
    fi
done
echo "error: Python 3.11 or 3.12 is needed, and neither was found. Install one, or give PYTHON=/path/to/python." >&2
exit 1
