"""Structured matrices: few parameters, fast products, and the member of each family nearest to a dense matrix.

`StructuredLinear` is a drop-in for `nn.Linear`; families are known by name.
"""

from seqkit.structured.best_fit import Fit, best_fit
from seqkit.structured.butterflies import Butterfly, Kaleidoscope, KaleidoscopeFrontEnd, OrthogonalKaleidoscope
from seqkit.structured.dense import Dense
from seqkit.structured.describe import describe_structured, restore_structured
from seqkit.structured.linear import StructuredLinear
from seqkit.structured.low_rank import LowRank
from seqkit.structured.matrix import StructuredMatrix
from seqkit.structured.moments import Moments, input_moments
from seqkit.structured.monarch import Monarch
from seqkit.structured.monarch_product import factor_monarch_product
from seqkit.structured.pixelfly import Pixelfly
from seqkit.structured.project import project
from seqkit.structured.registry import get_structure, register_structure, structure_names, structure_options
from seqkit.structured.replace import densify, replace_linear
from seqkit.structured.sparsify import SparseLayer, Sparsified, sparsify

__all__ = [
    "Butterfly",
    "Dense",
    "Fit",
    "Kaleidoscope",
    "KaleidoscopeFrontEnd",
    "LowRank",
    "Moments",
    "Monarch",
    "OrthogonalKaleidoscope",
    "Pixelfly",
    "SparseLayer",
    "Sparsified",
    "StructuredLinear",
    "StructuredMatrix",
    "best_fit",
    "densify",
    "describe_structured",
    "factor_monarch_product",
    "get_structure",
    "input_moments",
    "project",
    "register_structure",
    "replace_linear",
    "restore_structured",
    "sparsify",
    "structure_names",
    "structure_options",
]
