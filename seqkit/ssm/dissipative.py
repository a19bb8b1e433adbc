"""A trainable matrix that cannot become unstable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DissipativeMatrix"]


class DissipativeMatrix(nn.Module):
    """Square matrix whose symmetric part is never positive, for every value of its parameters.

        A = S - S^T - diag(d)^2 - R R^T,      S strictly upper triangular

    Then `d|x|^2/dt = 2 x.A x <= 0`, and every A-stable one-step rule gives a discrete matrix of 2-norm at most 1
    for every step size. The HiPPO matrices have this form exactly: LegS has d^2 = 1/2 and R = B / sqrt(2), the
    others d = 0 and R of rank 1 or 2.

    Args:
        start: Matrix to start from, (N, N), whose symmetric part must not be positive anywhere.
        trainable: Whether the parts are trained; if not they are saved all the same.

    Raises:
        ValueError: the symmetric part of `start` has a positive eigenvalue.

    Source:
        Own parameterisation; Gu et al. 2021 (arXiv:2110.13985), section 5, trains A = P (D + T^-1) Q, in which
        nothing keeps A stable.

    Example:
        >>> A = DissipativeMatrix(torch.tensor([[-1.0, 2.0], [0.0, -1.0]]))
        >>> A().detach().round(decimals=4)
        tensor([[-1.,  2.],
                [ 0., -1.]])
    """

    def __init__(self, start: Tensor, *, trainable: bool = True) -> None:
        super().__init__()
        start = start.double()
        order = len(start)
        values, vectors = torch.linalg.eigh(-(start + start.T) / 2)
        scale = max(1.0, float(values.abs().max()))
        if float(values[0]) < -1e-9 * scale:
            raise ValueError(f"`start` must have no positive symmetric part, got eigenvalue {-float(values[0]):.3g}")
        # The smallest eigenvalue goes to the diagonal and what is left is of low rank for every HiPPO matrix.
        floor = values[0].clamp(min=0.0) if float(values[0]) > 1e-9 * scale else values.new_zeros(())
        keep = values - floor > 1e-9 * scale
        keep[-1] = True  # at least one column, so that a purely skew start can learn to forget
        low_rank = vectors[:, keep] * (values[keep] - floor).clamp(min=0.0).sqrt()
        rows, columns = torch.triu_indices(order, order, offset=1)
        skew = ((start - start.T) / 2)[rows, columns]
        self.order = order
        dtype = torch.get_default_dtype()
        self.skew = nn.Parameter(skew.to(dtype), requires_grad=trainable)
        self.damping = nn.Parameter(floor.sqrt().expand(order).clone().to(dtype), requires_grad=trainable)
        self.low_rank = nn.Parameter(low_rank.to(dtype), requires_grad=trainable)

    def forward(self) -> Tensor:
        """Returns A, (N, N)."""
        rows, columns = torch.triu_indices(self.order, self.order, offset=1, device=self.skew.device)
        upper = self.skew.new_zeros(self.order, self.order).index_put((rows, columns), self.skew)
        return upper - upper.T - torch.diag(self.damping.square()) - self.low_rank @ self.low_rank.T

    def extra_repr(self) -> str:
        """Order and rank of the dissipation."""
        return f"order={self.order}, rank={self.low_rank.shape[1]}"
