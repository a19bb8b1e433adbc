"""Compares the operators with their usual forms: `seqkit bench`, with the same arguments.

Run from the repository root:  python benchmarks/kernels.py [vandermonde ...] [--sizes full] [--out FOLDER]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; seqkit.cli sets the way threads wait

import sys

from seqkit.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench"]
    main()
