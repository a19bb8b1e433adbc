"""Every registered mixer with the options that its contracts run over; loaded by the suites beside this file."""

import torch

import seqkit.attention
import seqkit.longconv
import seqkit.ssm  # noqa: F401  all register their mixers
from seqkit.nn import get_mixer

D = 6

CASES = {name: (name, {}) for name in ("lstm", "gru")}
CASES |= {
    "lssl": ("lssl", {"order": 8}),
    "lssl-legt-2": ("lssl", {"order": 6, "measure": "legt", "channels": 2}),
    "lssl-lagt-zoh": ("lssl", {"order": 7, "measure": "lagt", "discretization": "zero_order_hold"}),
    "lssl-fourier-euler": ("lssl", {"order": 8, "measure": "fourier", "discretization": "backward_euler"}),
    "s4": ("s4", {"order": 8}),
    "s4-legt-2": ("s4", {"order": 8, "measure": "legt", "channels": 2}),
    "s4-lagt": ("s4", {"order": 8, "measure": "lagt"}),
    "s4d": ("s4d", {"order": 8}),
    "s4d-lin-zoh-2": ("s4d", {"order": 8, "start": "lin", "discretization": "zero_order_hold", "channels": 2}),
    "s4d-inv-euler": ("s4d", {"order": 8, "start": "inv", "discretization": "backward_euler"}),
    "hippo_rnn": ("hippo_rnn", {"order": 8}),
    "hippo_rnn-reciprocal-2": ("hippo_rnn", {"order": 6, "rule": "reciprocal", "memory_channels": 2, "gate": False}),
    "hippo_rnn-legt": ("hippo_rnn", {"order": 8, "measure": "legt", "window": 15.0}),
    "hippo_rnn-lagt-zoh-3": (
        "hippo_rnn",
        {"order": 5, "measure": "lagt", "discretization": "zero_order_hold", "memory_channels": 3},
    ),
    "hippo_rnn-fourier-euler": (
        "hippo_rnn",
        {"order": 6, "measure": "fourier", "window": 20.0, "discretization": "backward_euler"},
    ),
    "lmu": ("lmu", {"order": 6, "window": 15.0}),
    "lmu-zoh-2": ("lmu", {"order": 5, "window": 20.0, "memory_channels": 2, "discretization": "zero_order_hold"}),
}
CASES |= {
    "attention": ("attention", {"n_heads": 3, "window": 16}),
    "attention-grouped-none": ("attention", {"n_heads": 2, "n_kv_heads": 1, "positions": "none", "window": 20}),
    "attention-learned": ("attention", {"positions": "learned", "max_length": 64, "bias": False}),
    "block_sparse": ("block_sparse", {"block_size": 4, "n_factors": 2, "n_heads": 2}),
    "block_sparse-local-global": (
        "block_sparse",
        {"pattern": "local", "block_size": 3, "n_global": 1, "n_heads": 2, "n_kv_heads": 1},
    ),
    "block_sparse-strided": (
        "block_sparse",
        {"pattern": "strided", "block_size": 4, "stride": 3, "width": 0, "causal": False, "positions": "none"},
    ),
    "performer": ("performer", {"n_features": 8, "n_heads": 2}),
    "performer-grouped": ("performer", {"n_features": 6, "n_heads": 2, "n_kv_heads": 1, "positions": "none"}),
    "performer-two-sided": ("performer", {"n_features": 8, "causal": False, "n_heads": 2}),
    "lsh": ("lsh", {"n_buckets": 4, "bucket_size": 3, "n_heads": 2}),
    "lsh-grouped": ("lsh", {"n_hashes": 1, "n_buckets": 6, "bucket_size": 4, "n_heads": 2, "n_kv_heads": 1}),
    "lsh-two-sided": ("lsh", {"n_buckets": 4, "bucket_size": 3, "causal": False}),
    "scatterbrain": ("scatterbrain", {"n_features": 8, "n_local": 5, "n_buckets": 4, "bucket_size": 3, "n_heads": 2}),
    "scatterbrain-local": (
        "scatterbrain",
        {"n_features": 8, "n_local": 7, "n_hashes": 0, "n_heads": 2, "n_kv_heads": 1, "positions": "none"},
    ),
    "scatterbrain-two-sided": (
        "scatterbrain",
        {"n_features": 8, "n_local": 4, "n_buckets": 4, "bucket_size": 2, "causal": False},
    ),
    "attention-two-sided": ("attention", {"causal": False, "n_heads": 2, "window": 8}),
    "monarch": ("monarch", {"window": 14.5, "filter_width": 8}),
    "monarch-stages": ("monarch", {"window": 40, "filter_width": 6, "form": "monarch", "residual": False}),
    "monarch-two-sided": ("monarch", {"window": 12.0, "filter_width": 8, "causal": False}),
}
CASES |= {
    "tcn": ("tcn", {"kernel_size": 3, "n_levels": 3}),
    "tcn-depthwise": ("tcn", {"kernel_size": 2, "n_levels": 2, "depthwise": True}),
    "tcn-two-sided": ("tcn", {"kernel_size": 4, "n_levels": 2, "causal": False}),
}
TWO_SIDED = ("block_sparse-strided", *(case for case in CASES if case.endswith("two-sided")))
CANNOT_STREAM = ("attention-learned", *TWO_SIDED)
ATTENTION = ("attention", "block_sparse", "performer", "lsh", "scatterbrain")
# What has no recurrence may compute in half precision where autocast says so.
WITHOUT_RECURRENCE = tuple(case for case, (name, _) in CASES.items() if name in (*ATTENTION, "monarch"))
# The compiler takes seconds for each: one of a kind.
COMPILED = ("attention", "attention-two-sided", "block_sparse", "performer", "lsh", "scatterbrain", "monarch")
# The whole past counts evenly, whatever its unit of time: one rate is as good as another, uneven times are not.
WITHOUT_UNIT = ("hippo_rnn", "hippo_rnn-reciprocal-2")
LIMIT = {torch.float32: 1e-4, torch.float64: 1e-9}


def build(case, dtype=torch.float64, perturbed=True):
    name, options = CASES[case]
    torch.manual_seed(0)
    mixer = get_mixer(name)(D, **options).to(dtype)
    if perturbed:  # random parameters, not only the starting values
        with torch.no_grad():
            for parameter in mixer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer


def rms_error(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).square().mean().sqrt() / b.square().mean().sqrt().clamp(min=1e-30))
