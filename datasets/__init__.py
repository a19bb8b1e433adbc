"""Readers of data sets and of people's own files, and the Lightning data modules over them."""

if __name__ != "seqkit.datasets":
    raise ImportError(f"this folder is the package seqkit.datasets, not {__name__}; write `import seqkit.datasets`")
