"""Every test in this folder needs a GPU, and little beside torch."""

import os
from pathlib import Path

import pytest
import torch

# On a CPU the tests show nothing, but one can see that they have no faults of their own.
ON_CPU = os.environ.get("RLS_GPU_TESTS_ON") == "cpu"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not (torch.cuda.is_available() or ON_CPU):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def gpu():
    """Return the device; the flags that commands set in their process are put back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32
    cudnn.allow_tf32 = False
    yield torch.device("cpu" if ON_CPU else "cuda")
    cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32 = before
