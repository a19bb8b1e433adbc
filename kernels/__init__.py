"""The arithmetic under every layer: one folder per operator, each with a readable reference and fast paths."""

if __name__ != "seqkit.kernels":
    raise ImportError(f"this folder is the package seqkit.kernels, not {__name__}; write `import seqkit.kernels`")

from seqkit.kernels.explain import OPERATORS, Explanation, explain

__all__ = ["OPERATORS", "Explanation", "explain"]
