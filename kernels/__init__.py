"""The arithmetic under every layer: one folder per operator, each with a readable reference and fast paths.

Each operator is a function here and the package of its paths by the same name, so `from seqkit.kernels import krylov`
gives the function, and `from seqkit.kernels.krylov.reference import krylov_reference` still finds its definition.
"""

if __name__ != "seqkit.kernels":
    raise ImportError(f"this folder is the package seqkit.kernels, not {__name__}; write `import seqkit.kernels`")

from seqkit.kernels.attention import attention
from seqkit.kernels.block_product import block_product
from seqkit.kernels.butterfly import butterfly
from seqkit.kernels.cauchy import cauchy
from seqkit.kernels.explain import OPERATORS, Explanation, explain
from seqkit.kernels.krylov import krylov
from seqkit.kernels.legs_update import legs_update
from seqkit.kernels.long_conv import long_conv
from seqkit.kernels.lti_memory import lti_memory
from seqkit.kernels.monarch import monarch
from seqkit.kernels.quantise import dequantise, quantise
from seqkit.kernels.ssm_scan import ssm_scan
from seqkit.kernels.ssm_step import ssm_step
from seqkit.kernels.state_features import state_features
from seqkit.kernels.vandermonde import vandermonde

__all__ = [
    "OPERATORS",
    "Explanation",
    "attention",
    "block_product",
    "butterfly",
    "cauchy",
    "dequantise",
    "explain",
    "krylov",
    "legs_update",
    "long_conv",
    "lti_memory",
    "monarch",
    "quantise",
    "ssm_scan",
    "ssm_step",
    "state_features",
    "vandermonde",
]
