"""HiPPO memory: measures over the past, their bases and transition matrices, and how to discretise them.

A measure weights the past; the memory keeps the N coefficients of the weighted-optimal projection of the signal on N
basis functions. Differentiating the coefficients gives x' = A x + B u, here with the sign of a state-space model: the
symmetric part of A is never positive in the orthonormal normalisation.
"""

from seqkit.hippo.basis import evaluate_basis, impulse_response, reconstruct
from seqkit.hippo.discretize import METHODS, discretize, discretize_diagonal
from seqkit.hippo.exact import held_weights, join_matrices
from seqkit.hippo.measures import MEASURES, Fourier, LagT, LegS, LegT, Measure, as_measure, transition
from seqkit.hippo.memory import HiPPOMemory, MemoryState
from seqkit.hippo.nplr import DIAGONAL_STARTS, Nplr, diagonal_start, nplr
from seqkit.hippo.pictures import draw_memory
from seqkit.hippo.recalling import Recall, recall
from seqkit.hippo.weighting import density

__all__ = [
    "DIAGONAL_STARTS",
    "MEASURES",
    "METHODS",
    "Fourier",
    "HiPPOMemory",
    "LagT",
    "LegS",
    "LegT",
    "Measure",
    "MemoryState",
    "Nplr",
    "Recall",
    "as_measure",
    "density",
    "diagonal_start",
    "discretize",
    "discretize_diagonal",
    "draw_memory",
    "evaluate_basis",
    "held_weights",
    "impulse_response",
    "join_matrices",
    "nplr",
    "recall",
    "reconstruct",
    "transition",
]
