"""Holding the last observed value: against a plain loop, whole and as a stream, with gradients and lengths."""

import pytest
import torch

from seqkit.nn import check_observed, hold, hold_step, last_of


def gappy(batch=3, length=17, channels=2, share=0.5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, length, channels, dtype=dtype, generator=generator)
    return x, torch.rand(batch, length, channels, generator=generator) >= share


def by_loop(x, observed, held):
    """The definition, one number at a time."""
    out = x.clone()
    for i in range(x.shape[0]):
        for c in range(x.shape[2]):
            last = held[i, c]
            for k in range(x.shape[1]):
                last = x[i, k, c] if observed[i, k, c] else last
                out[i, k, c] = last
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_it_is_the_definition(share, dtype):
    x, observed = gappy(share=share, dtype=dtype)
    held = torch.randn(3, 2).to(dtype)
    assert torch.equal(hold(x, observed, held), by_loop(x, observed, held))
    assert torch.equal(hold(x, observed), by_loop(x, observed, torch.zeros_like(held)))
    assert hold(x, observed, held).dtype == dtype


def test_stream_and_blocks_equal_the_whole():
    x, observed = gappy()
    start = torch.tensor([[1.0, 2.0]] * 3, dtype=torch.float64)
    whole, held = hold(x, observed, start), start
    for k in range(17):
        held = hold_step(x[:, k], observed[:, k], held)
        assert torch.equal(held, whole[:, k])
    held, blocks = start, []
    for values, there in zip(x.split([1, 7, 9], 1), observed.split([1, 7, 9], 1), strict=True):
        blocks.append(hold(values, there, held))
        held = last_of(blocks[-1], None)
    assert torch.equal(torch.cat(blocks, 1), whole)


def test_the_last_sample_is_that_of_each_series():
    x, _ = gappy()
    lengths = torch.tensor([17, 1, 5])
    assert torch.equal(last_of(x, lengths), torch.stack([x[i, n - 1] for i, n in enumerate(lengths)]))
    assert torch.equal(last_of(x, None), x[:, -1])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_what_was_not_observed_changes_no_value_and_no_gradient(bad):
    x, observed = gappy()
    held = torch.randn(3, 2, dtype=torch.float64)
    weights = torch.randn_like(x)
    found = []
    for filling in (0.0, bad):
        leaf = torch.where(observed, x, filling).requires_grad_()
        start = held.clone().requires_grad_()
        out = hold(leaf, observed, start)
        (out * weights).sum().backward()
        found.append((out.detach(), leaf.grad, start.grad))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    assert (found[0][1][~observed] == 0).all()
    # Each value's gradient is the sum over the samples that hold it; the start's over those before the first.
    assert torch.allclose(found[0][1].sum(1) + found[0][2], weights.sum(1))
    assert torch.autograd.gradcheck(lambda v, h: hold(v, observed, h), (x.requires_grad_(), held.requires_grad_()))


def test_it_compiles():
    x, observed = gappy(dtype=torch.float32)
    compiled = torch.compile(hold, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, observed, x[:, 0]), hold(x, observed, x[:, 0]))
    leaf = x.clone().requires_grad_()
    compiled(leaf, observed, x[:, 0]).sum().backward()
    assert leaf.grad[~observed].eq(0).all()


def test_what_is_observed_is_checked():
    x, observed = gappy()
    lengths = torch.tensor([17, 1, 5])
    found = check_observed(observed, x, lengths)
    for i, n in enumerate(lengths):
        assert torch.equal(found[i, :n], observed[i, :n])
        assert found[i, n:].all()
    assert torch.equal(check_observed(observed[:, 0], x[:, 0]), observed[:, 0])
    with pytest.raises(ValueError, match=r"`observed` must have shape \(3, 17, 2\), got \(3, 17\); one entry for each"):
        check_observed(observed[:, :, 0], x)
    with pytest.raises(ValueError, match=r"`observed` must be of dtype bool, .* got torch.float32"):
        check_observed(observed.float(), x)
