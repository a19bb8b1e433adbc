"""Butterflies and products of them: families of structured matrices, exact members, latent permutations."""

from seqkit.structured.butterflies.butterfly import Butterfly
from seqkit.structured.butterflies.kaleidoscope import Kaleidoscope
from seqkit.structured.butterflies.orthogonal import OrthogonalKaleidoscope

__all__ = ["Butterfly", "Kaleidoscope", "OrthogonalKaleidoscope"]
