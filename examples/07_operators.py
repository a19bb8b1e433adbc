"""The operators under the layers, on their own: one map as a convolution and as a recurrence, on any machine."""

import torch

from seqkit.kernels import explain, krylov, long_conv, ssm_scan, vandermonde


def main() -> None:
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


if __name__ == "__main__":
    main()
