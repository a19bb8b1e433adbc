"""Butterflies and products of them: families of structured matrices, known transforms as exact members, algebra."""

from seqkit.structured.butterflies.algebra import adjoint, inverse, kronecker, log_abs_det, product, transpose
from seqkit.structured.butterflies.butterfly import Butterfly
from seqkit.structured.butterflies.front_end import FrontEndState, KaleidoscopeFrontEnd
from seqkit.structured.butterflies.kaleidoscope import Kaleidoscope
from seqkit.structured.butterflies.latent import LatentPermutation, SinkhornPermutation, SwapPermutation
from seqkit.structured.butterflies.orthogonal import OrthogonalKaleidoscope
from seqkit.structured.butterflies.transforms import (
    bit_reversal,
    circulant,
    dct,
    dft,
    dst,
    hadamard,
    inverse_dft,
    permutation_matrix,
    toeplitz,
)

__all__ = [
    "Butterfly",
    "FrontEndState",
    "Kaleidoscope",
    "KaleidoscopeFrontEnd",
    "LatentPermutation",
    "OrthogonalKaleidoscope",
    "SinkhornPermutation",
    "SwapPermutation",
    "adjoint",
    "bit_reversal",
    "circulant",
    "dct",
    "dft",
    "dst",
    "hadamard",
    "inverse",
    "inverse_dft",
    "kronecker",
    "log_abs_det",
    "permutation_matrix",
    "product",
    "toeplitz",
    "transpose",
]
