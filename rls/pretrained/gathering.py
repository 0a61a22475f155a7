"""Join what measure_trust found for each method into the trust and the settings of one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rls.pretrained.files import DEFAULT, SEARCH, TRUST, read_json, write_json
from rls.runtime.errors import InputError

OF_ALL = ("written_by", "program_version", "generator_digest")


def gather(parts: Sequence[Path], default: str, output: Path) -> None:
    """Write ``trust.json`` and ``search.json`` of a model from the folders ``parts``.

    Arguments:
        default: The method that users get where they name none, at every factor.

    Raises:
        InputError: A part is missing or of another generator, or a factor lacks the default.
    """
    search, trust = ([_read(part / name) for part in parts] for name in (SEARCH, TRUST))
    for part, content in zip([*parts, *parts], [*search, *trust], strict=True):
        if content["generator_digest"] != search[0]["generator_digest"]:
            raise InputError(
                f"{part} was measured with another generator than {parts[0]}. Run measure_trust "
                "again."
            )
    methods = _joined(search)
    for factor, found in methods.items():
        if default not in found:
            raise InputError(
                f"The default method is {default}, and at factor {factor} trust was measured of "
                f"{', '.join(found)}. Set gather_trust.default to one of them, or measure it."
            )
    head = {name: search[0][name] for name in OF_ALL}
    defaults = dict.fromkeys(methods, default)
    write_json(output / SEARCH, {**head, DEFAULT: defaults, "factors": methods})
    write_json(output / TRUST, {**head, "factors": _joined(trust)})


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not content:
        raise InputError(f"{path} does not exist. Run measure_trust first.")
    return content


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the entries of all parts by factor, in order, and by method."""
    factors = sorted({factor for part in parts for factor in part["factors"]}, key=int)
    return {
        factor: {
            method: entry
            for part in parts
            for method, entry in part["factors"].get(factor, {}).items()
        }
        for factor in factors
    }
