"""Operations for inference: the diagonal L w computed once, as a tensor that nothing trains."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from seqkit.structured.replace import put
from seqkit.structured.xd.layer import XDConv

__all__ = ["FixedOperation", "fix_operations"]


class FixedOperation(nn.Module):
    """An operation whose diagonal d = L w is stored in place of L and w: Re(K diag(d) M x) + bias.

    It is a copy: what becomes of the operation that it was made from does not reach it, so that it cannot go stale. It
    has no parameters to train.

    Args:
        layer: The operation.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> layer, x = XDConv1d(1, 1, 3, length=8, padding=1), torch.randn(2, 1, 8)
        >>> bool(torch.allclose(FixedOperation(layer)(x), layer(x), atol=1e-5))
        True
    """

    spectrum: Tensor

    def __init__(self, layer: XDConv) -> None:
        super().__init__()
        with torch.no_grad():
            self.register_buffer("spectrum", torch.view_as_real(layer.spectrum()))
        self.layer = copy.deepcopy(layer).requires_grad_(False)
        self.layer.L = nn.ModuleList()
        self.layer.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Maps as the operation does."""
        return self.layer.evaluate(x, torch.view_as_complex(self.spectrum))


def fix_operations(model: nn.Module) -> nn.Module:
    """A copy of a model for inference, with the diagonal of every operation computed once.

    Args:
        model: A model with operations inside; it stays what it is.

    Returns:
        The copy, in evaluation mode. Operations that are still convolutions by FFT stay as they are.

    Example:
        >>> from seqkit.structured.xd import XDConv1d
        >>> fixed = fix_operations(nn.Sequential(XDConv1d(1, 1, 3, length=8)))
        >>> type(fixed[0]).__name__, [name for name, _ in fixed.named_parameters() if ".L." in name]
        ('FixedOperation', [])
    """
    fixed = copy.deepcopy(nn.ModuleList([model])).eval()
    made: dict[int, nn.Module] = {
        id(layer): FixedOperation(layer)
        for layer in fixed.modules()
        if isinstance(layer, XDConv) and not layer.is_convolution
    }
    put(fixed, made)
    return fixed[0]
