"""XD-operations: K diag(L w) M x with learned K, L and M in place of convolutions, which they equal at first."""

from seqkit.structured.xd.convolution import XDConv1d, XDConv2d
from seqkit.structured.xd.describe import AxisDescription, OperationDescription, describe_operation
from seqkit.structured.xd.fixed import FixedOperation, fix_operations
from seqkit.structured.xd.layer import XDConv
from seqkit.structured.xd.members import fourier_taps, set_fourier_operator, set_input_permutation
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
from seqkit.structured.xd.picture import draw_operations
from seqkit.structured.xd.stack import CausalStack

__all__ = [
    "AxisDescription",
    "CausalStack",
    "FixedOperation",
    "OperationDescription",
    "OperationMatrix",
    "Patched",
    "PatchedLayer",
    "XDConv",
    "XDConv1d",
    "XDConv2d",
    "describe_operation",
    "draw_operations",
    "fix_operations",
    "fourier_taps",
    "freeze_operations",
    "model_parameters",
    "operation_layers",
    "operation_parameters",
    "patch_convolutions",
    "release_operations",
    "set_fourier_operator",
    "set_input_permutation",
]
