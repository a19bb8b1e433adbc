"""XD-operations: K diag(L w) M x with learned K, L and M in place of convolutions, which they equal at first."""

from seqkit.structured.xd.convolution import XDConv, XDConv1d, XDConv2d
from seqkit.structured.xd.operation import OperationMatrix
from seqkit.structured.xd.patch import (
    Patched,
    PatchedLayer,
    freeze_operations,
    model_parameters,
    operation_layers,
    operation_parameters,
    patch_convolutions,
    release_operations,
)
from seqkit.structured.xd.stack import CausalStack

__all__ = [
    "CausalStack",
    "OperationMatrix",
    "Patched",
    "PatchedLayer",
    "XDConv",
    "XDConv1d",
    "XDConv2d",
    "freeze_operations",
    "model_parameters",
    "operation_layers",
    "operation_parameters",
    "patch_convolutions",
    "release_operations",
]
