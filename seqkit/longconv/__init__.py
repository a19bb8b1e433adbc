"""Long convolution in Monarch form: the transform, the convolution, and the mixer of them.

Signals of functions are (B, H, L), channels before time, as `seqkit.kernels.long_conv` has them; the mixer's are
(B, L, D).
"""

from seqkit.longconv.convolve import monarch_conv
from seqkit.longconv.filter import ImplicitFilter
from seqkit.longconv.history import MonarchState
from seqkit.longconv.mixer import MonarchMixer
from seqkit.longconv.transform import dft_factors, monarch_dft, split_points
from seqkit.longconv.triangular import polynomial_conv

__all__ = [
    "ImplicitFilter",
    "MonarchMixer",
    "MonarchState",
    "dft_factors",
    "monarch_conv",
    "monarch_dft",
    "polynomial_conv",
    "split_points",
]
