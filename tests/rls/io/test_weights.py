import pytest
import torch
from safetensors.torch import save_file

from rls.io import read_weights, tensors_digest, write_weights
from rls.runtime.errors import InputError

TENSORS = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "a.bias": torch.ones(3, dtype=torch.bfloat16),
}


def test_weights_and_header_come_back(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, {"kind": "generator", "images_seen": 12})
    tensors, header = read_weights(path, kind="generator")
    assert header["images_seen"] == 12
    assert header["digest"] == tensors_digest(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)


def test_the_digest_does_not_depend_on_order_and_does_on_names_and_values():
    assert tensors_digest(TENSORS) == tensors_digest(dict(reversed(TENSORS.items())))
    other = {name.replace("bias", "b"): tensor for name, tensor in TENSORS.items()}
    assert tensors_digest(other) != tensors_digest(TENSORS)
    assert tensors_digest({**TENSORS, "a.bias": torch.zeros(3)}) != tensors_digest(TENSORS)


def test_tensors_that_share_memory_are_written(tmp_path):
    whole = torch.arange(6.0)
    write_weights(tmp_path / "w.safetensors", {"a": whole, "b": whole[2:]}, {"kind": "flow"})
    tensors, _ = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(tensors["a"], whole) and torch.equal(tensors["b"], whole[2:])


def test_another_kind_is_refused(tmp_path):
    write_weights(tmp_path / "w.safetensors", TENSORS, {"kind": "flow"})
    with pytest.raises(InputError, match="holds a flow, expected a generator"):
        read_weights(tmp_path / "w.safetensors", kind="generator")


def test_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, {"kind": "flow"})
    content = path.read_bytes()
    for position in (len(content) - 1, len(content) - 30):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="digest differs"):
            read_weights(path)


def test_foreign_and_truncated_files_are_refused(tmp_path):
    save_file(TENSORS, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "foreign.safetensors")
    write_weights(tmp_path / "w.safetensors", TENSORS, {"kind": "flow"})
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:-9])
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "w.safetensors")
