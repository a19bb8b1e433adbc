"""A memory of 64 numbers: a long signal in, sample by sample or all at once, and its whole past back out.

Half of the samples are missing, and the same signal played at another speed leaves the same numbers.

    python examples/06_hippo_memory.py [FOLDER]

Expect the past read back to three digits. FOLDER (runs/examples) gets 06_hippo_memory.png: a signal of 4000 samples,
and what 16, 32 and 64 numbers keep of it.
"""

import sys
from pathlib import Path

import torch

from seqkit import HiPPOMemory
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")


def signal(time: torch.Tensor) -> torch.Tensor:
    """A wave, and a faster one that fades."""
    return torch.sin(3 * time) + 0.5 * torch.sin(4.3 * time + 1) * torch.exp(-time / 8)


generator = torch.Generator().manual_seed(0)
n_samples, seconds = 4000, 20.0
step = seconds / n_samples
time = step * torch.arange(1, n_samples + 1, dtype=torch.float64)  # each sample is held up to its time
u = signal(time - step / 2)[None, :, None]  # (batch, length, channels)

memory = HiPPOMemory(64)  # LegS: the whole past counts evenly
coefficients = memory.project(u, time)  # all at once

state = memory.initial_state(1, 1, dtype=torch.float64)  # or as a stream, in blocks or samples
for block in range(0, n_samples, 1000):
    part = slice(block, block + 1000)
    streamed, state = memory.scan(u[:, part], state, time[part])
assert torch.allclose(streamed, coefficients, atol=1e-10)

asked = torch.linspace(0.5, 19.5, 6, dtype=torch.float64)
past = memory.reconstruct(coefficients, asked, elapsed=seconds)[0, :, 0]
for when, was, read in zip(asked.tolist(), signal(asked).tolist(), past.tolist(), strict=True):
    print(f"after {when:4.1f} s it was {was:7.4f}, remembered as {read:7.4f}")
assert torch.allclose(past, signal(asked), atol=1e-3)

observed = torch.rand(1, n_samples, generator=generator) > 0.5
gappy = memory.project(torch.where(observed[..., None], u, torch.nan), time, observed=observed)
print(f"half of the samples missing: the memory differs by {(gappy - coefficients).norm() / coefficients.norm():.1e}")

fast = memory.project(u[:, ::2])  # twice as fast, and nobody says so
print(f"played at double speed: the memory differs by {(fast - coefficients).norm() / coefficients.norm():.1e}")
assert (fast - coefficients).norm() < 0.01 * coefficients.norm()

recent = torch.linspace(16.0, 19.9, 40, dtype=torch.float64)
for measure, window in (("legs", None), ("legt", 5.0), ("fourier", 5.0), ("lagt", 1.0)):
    other = HiPPOMemory(64, measure, window=window)
    read = other.reconstruct(other.project(u, time), recent, elapsed=seconds)[0, :, 0]
    print(f"{measure:8} error over the last 4 s {float((read - signal(recent)).abs().max()):.4f}")

figure = new_figure(9, 5)
above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
above.plot(time, u[0, :, 0], color="0.8", linewidth=4, label="signal, 4000 samples")
for order, colour in ((16, "C1"), (32, "C2"), (64, "C0")):
    smaller = HiPPOMemory(order)
    read = smaller.reconstruct(smaller.project(u, time), time - step / 2, elapsed=seconds)[0, :, 0]
    above.plot(time, read, color=colour, linewidth=1, label=f"read from {order} numbers")
    below.semilogy(time, (read - u[0, :, 0]).abs(), color=colour, linewidth=1)
above.set(title="What a LegS memory keeps of 20 s, read back at the end", ylabel="signal", ylim=(-1.5, 2))
above.legend(loc="upper center", ncols=4, fontsize=8)
below.set(xlabel="time, s", ylabel="error", ylim=(1e-6, 2))
for axes in (above, below):
    axes.grid(alpha=0.3)
save_figure(figure, folder / "06_hippo_memory.png")
print("picture:", folder / "06_hippo_memory.png")
