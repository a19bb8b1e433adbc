"""The passes of an FFT as products with small DFT matrices, for the kernels of the folder above."""
