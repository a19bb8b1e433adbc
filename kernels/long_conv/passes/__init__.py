"""The passes of an FFT: as products with small DFT matrices for a GPU, and compiled for the lanes of a CPU."""
