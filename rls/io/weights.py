"""Weights: safetensors with one metadata key, ``header``, a JSON text.

Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rls.io.files import DIGEST_BYTES, atomic_path, json_digest, need_file
from rls.runtime.errors import InputError, first_line

HEADER_DIGEST = "header_digest"
RULES = {  # Kind of weights -> the rule that writes them.
    "generator": "train_gan",
    "discriminator": "train_gan",
    "styles": "sample_styles",
    "flow": "fit_flow",
    "classifier": "train_classifier",
    "pix2pix": "train_pix2pix",
    "amortised": "train_amortised",
    "regression": "train_regression",
    "latents": "super_resolve",
}


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the blake2b digest of the names, types, shapes and values, in the order of names."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(
    path: Path | str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Write ``tensors`` with ``header``; ``header["kind"]`` says what they are.

    The header gains ``digest``, the digest of the tensors, by which other files refer to them. In
    the file it also gains a digest of itself.
    """
    if "kind" not in header:
        raise ValueError("a weights header needs a 'kind'")
    # The tensors are cloned because safetensors refuses tensors that share memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = {**header, "digest": tensors_digest(plain)}
    text = json.dumps({**content, HEADER_DIGEST: json_digest(content)}, sort_keys=True)
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={"header": text})


def read_weights(
    path: Path | str, *, kind: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, header) of a file written by :func:`write_weights`.

    Raises:
        InputError: The file is missing, damaged, of another kind, or not one of ours.
    """
    path = need_file(path, "weights file")
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})["header"])
            tensors = {name: handle.get_tensor(name) for name in list(handle.keys())}
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"The weights {path} cannot be read ({type(error).__name__}: {error}). "
            f"{_rerun(path, kind)}"
        ) from error
    whole = _take_header_digest(header)
    if not whole or header.get("digest") != tensors_digest(tensors):
        raise InputError(
            f"The weights {path} are not those that were written (their digest differs): the file "
            f"was damaged. {_rerun(path, kind)}"
        )
    if kind is not None and header.get("kind") != kind:
        raise InputError(f"{path} holds a {header.get('kind')}, expected a {kind}.")
    return tensors, header


def load_state(net: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy ``tensors``, which were read from ``path``, into a network.

    Raises:
        InputError: Their names or shapes are not those of the network.
    """
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"The weights in {path} do not fit their header ({first_line(error)})."
        ) from error


def _take_header_digest(header: dict[str, Any]) -> bool:
    """Remove the header's digest of itself; return whether it fits the rest.

    A header of an older file has none. If only the name of its key was damaged, its value is still
    the digest of the rest, and the header does not pass for an older one.
    """
    found = header.pop(HEADER_DIGEST, None)
    if found is not None:
        return bool(found == json_digest(header))
    return not any(
        value == json_digest({k: v for k, v in header.items() if k != name})
        for name, value in header.items()
        if isinstance(value, str) and len(value) == 2 * DIGEST_BYTES
    )


def _rerun(path: Path, kind: str | None) -> str:
    rule = RULES.get(kind or "", "")
    named = f" (rule {rule})" if rule else ""
    return f"Delete it and run the stage that writes it again{named}."
