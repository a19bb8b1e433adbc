"""What the operator tests share: the largest tensor a computation makes, and the device of Triton's kernels."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """Remembers the largest number of elements of any result."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes() // leaf.itemsize for leaf in tree_leaves(result) if torch.is_tensor(leaf)
        ]
        self.numel = max([self.numel, *sizes])
        return result


@pytest.fixture
def largest_tensor() -> Callable[..., int]:
    def measure(function: Callable[..., object], *args: object) -> int:
        with Largest() as mode:
            function(*args)
        return mode.numel

    return measure


@pytest.fixture
def where_backend_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes new tensors lie on a CUDA device in a test of Triton's kernels; without a device they are interpreted."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if parameters.get("backend", "triton") != "triton" or not torch.cuda.is_available():
        yield
        return
    with torch.device("cuda"):
        yield
