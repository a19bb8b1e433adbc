"""The operators under the layers, on their own: one map as a convolution and as a recurrence, on any machine.

A layer's arithmetic is a few functions of `seqkit.kernels`, for those who build layers of their own. Each has a plain
form and faster ones for CPU and GPU; `explain` says which would be taken.

    python examples/07_operators.py [FOLDER]

Expect differences below 1e-4, which is rounding in float32, and 0 past a series' end. FOLDER (runs/examples) gets
07_operators.png: a kernel, and the same output from a convolution and from a recurrence.
"""

import sys
from pathlib import Path

import torch

from seqkit.figures import new_figure, save_figure
from seqkit.kernels import explain, krylov, long_conv, ssm_scan, vandermonde


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
    torch.manual_seed(0)
    n_channels, n_pairs, length = 4, 16, 5000
    # A damped oscillator for each pair; |A_bar| is just below 1, so the past fades slowly.
    a = torch.complex(-(10 ** -torch.empty(n_channels, n_pairs).uniform_(1, 4)), torch.rand(n_channels, n_pairs) * 3)
    C = torch.randn(n_channels, n_pairs, dtype=torch.complex64) / n_pairs
    B = torch.ones_like(C)
    u = torch.randn(2, n_channels, length)

    kernel = vandermonde(a, (C * B)[:, None], length)[:, 0]
    whole = long_conv(u, kernel)
    first, state = ssm_scan(u[..., :1234], a.exp(), B, C)
    last, state = ssm_scan(u[..., 1234:], a.exp(), B, C, state)
    streamed = torch.cat([first, last], dim=-1)
    print("convolution against recurrence:", f"{float((whole - streamed).norm() / whole.norm()):.1e} relative")

    # The same kernel from dense matrices: a rotation and a decay for each pair.
    real, imag = a.exp().real, a.exp().imag
    top = torch.cat([torch.diag_embed(real), -torch.diag_embed(imag)], dim=-1)
    A = torch.cat([top, torch.cat([torch.diag_embed(imag), torch.diag_embed(real)], dim=-1)], dim=-2)
    dense = krylov(A, torch.cat([B.real, B.imag], dim=-1), 2 * torch.cat([C.real, -C.imag], dim=-1)[:, None], length)
    print("dense against diagonal:        ", f"{float((dense[:, 0] - kernel).norm() / kernel.norm()):.1e} relative")

    # Series of unequal length, sampled at uneven times: what lies past an end changes nothing.
    steps = torch.rand(2, length) * 1.5 + 0.25
    y, _ = ssm_scan(u, a, B, C, steps=steps, discretization="zero_order_hold", lengths=torch.tensor([length, 700]))
    print("past the end of the second:    ", float(y[1, :, 700:].abs().max()))
    print(explain(long_conv, u, kernel))

    figure = new_figure(9, 3.5)
    left, right = figure.subplots(1, 2)
    left.plot(kernel[:2, :400].T, linewidth=1, label=["channel 1", "channel 2"])
    left.set(title="What a layer convolves with", xlabel="lag, samples", ylabel="kernel")
    right.plot(whole[0, 0, :120], color="0.75", linewidth=4, label="convolution, all at once")
    right.plot(streamed[0, 0, :120], color="C3", linewidth=1, label="recurrence, sample by sample")
    right.set(title="One map in two forms", xlabel="sample", ylabel="output of channel 1")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(figure, folder / "07_operators.png")
    print("picture:", folder / "07_operators.png")


if __name__ == "__main__":
    main()
