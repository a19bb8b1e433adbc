"""The mixers of attention against their formulas written out, and what they say about time, heads and streams."""

import math

import numpy as np
import pytest
import torch

from seqkit.attention import Attention, BlockSparseAttention
from seqkit.attention.mixers.block_pattern import PATTERNS, block_pattern
from seqkit.attention.mixers.positions import rotary_frequencies, rotary_turns, turned_on

D = 12


def error(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).square().mean().sqrt() / b.square().mean().sqrt())


def written_out(mixer, u, seen, times=None):
    """One series (L, D): rotary positions as products of complex numbers, the whole matrix, heads one by one."""
    H, G, size = mixer.n_heads, mixer.n_kv_heads, mixer.head_size
    x = u if mixer.place is None else u + mixer.place[: len(u)]
    rows = x @ mixer.project.weight.T + (0 if mixer.project.bias is None else mixer.project.bias)
    heads = [rows[:, i * size : (i + 1) * size] for i in range(H + 2 * G)]

    def turned(one):
        if times is None:
            return one
        half = size // 2
        pairs = torch.complex(one[:, :half], one[:, half : 2 * half])
        speed = torch.tensor([10000.0 ** (-i / half) for i in range(half)], dtype=torch.float64)
        pairs = pairs * torch.exp(1j * times[:, None] * speed)
        return torch.cat([pairs.real, pairs.imag, one[:, 2 * half :]], 1)

    out = []
    for h in range(H):
        g = h // (H // G)
        scores = turned(heads[h]) @ turned(heads[H + g]).T / math.sqrt(size)
        out.append(torch.where(seen, scores, -torch.inf).softmax(-1) @ heads[H + G + g])
    joined = torch.cat(out, 1) @ mixer.out.weight.T
    return joined if mixer.out.bias is None else joined + mixer.out.bias


def window_of(length, before, after):
    ahead = torch.arange(length) - torch.arange(length)[:, None]
    return (ahead <= after) & (ahead >= -before)


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({}, 99, 0),
        ({"window": 7, "n_heads": 4, "n_kv_heads": 2}, 6, 0),
        ({"window": None, "causal": False, "n_heads": 3}, 99, 99),
        ({"window": 5, "causal": False, "bias": False}, 4, 4),
        ({"window": 1}, 0, 0),
        ({"positions": "none", "n_heads": 2}, 99, 0),
        ({"positions": "learned", "max_length": 40}, 99, 0),
        ({"n_heads": 4}, 99, 0),  # three channels a head, the last of which is not turned
    ],
)
def test_attention_is_its_formula(options, before, after):
    torch.manual_seed(0)
    mixer = Attention(D, **options).double()
    u = torch.randn(2, 40, D, dtype=torch.float64)
    rotary = mixer.positions == "rotary"
    times = torch.arange(40, dtype=torch.float64) if rotary else None
    expected = [written_out(mixer, one, window_of(40, before, after), times) for one in u]
    assert error(mixer(u), torch.stack(expected)) < 1e-12
    y = mixer(u, lengths=torch.tensor([40, 13]))
    times = None if times is None else times[:13]
    alone = written_out(mixer, u[1, :13], window_of(13, before, after), times)
    assert error(y[1, :13], alone) < 1e-12
    if rotary:
        uneven = torch.rand(2, 40, dtype=torch.float64).add(0.1).cumsum(1)
        expected = [written_out(mixer, one, window_of(40, before, after), t) for one, t in zip(u, uneven, strict=True)]
        assert error(mixer(u, timestamps=uneven), torch.stack(expected)) < 1e-12
        later = mixer(u, timestamps=uneven + 1e6)  # only differences of time matter
        assert error(later, torch.stack(expected)) < 1e-8


def tiles_of(options, i, j):
    """The patterns as their papers state them, tile by tile."""
    name, first = options["pattern"], options.get("n_global", 0)
    if i < first or j < first or i == j:
        return True
    if name == "butterfly":
        return (i ^ j) in [2**k for k in range(options["n_factors"])]
    near = abs(i - j) <= options["width"]
    return near or (name == "strided" and (i - j) % options["stride"] == 0)


BLOCKS = [
    {"pattern": "butterfly", "n_factors": 2},
    {"pattern": "butterfly", "n_factors": 3, "n_global": 2},
    {"pattern": "butterfly", "n_factors": 0},
    {"pattern": "local", "width": 0, "n_global": 1},
    {"pattern": "local", "width": 2},
    {"pattern": "strided", "width": 1, "stride": 3},
]


@pytest.mark.parametrize("options", BLOCKS)
@pytest.mark.parametrize("causal", [True, False])
def test_block_sparse_is_its_formula(options, causal):
    torch.manual_seed(0)
    mixer = BlockSparseAttention(D, n_heads=2, block_size=4, causal=causal, **options).double()
    u, lengths = torch.randn(2, 50, D, dtype=torch.float64), torch.tensor([50, 19])
    y = mixer(u, lengths=lengths)
    for row, n in enumerate(lengths.tolist()):
        tiles = [[tiles_of(options, i // 4, j // 4) and (j <= i or not causal) for j in range(n)] for i in range(n)]
        expected = written_out(mixer, u[row, :n], torch.tensor(tiles), torch.arange(n, dtype=torch.float64))
        assert error(y[row, :n], expected) < 1e-12


@pytest.mark.parametrize("options", [one for one in BLOCKS if one["pattern"] != "strided"])
def test_a_stream_of_blocks_equals_the_whole_beyond_every_cycle(options):
    torch.manual_seed(0)
    mixer = BlockSparseAttention(D, n_heads=2, block_size=3, **options).double()
    length = mixer.pattern.first + mixer.pattern.reach + 2 * mixer.pattern.cycle + 5
    u = torch.randn(2, length, D, dtype=torch.float64)
    whole, state, outputs, rest = mixer(u), mixer.initial_state(2), [], u
    largest = mixer.pattern.first + mixer.pattern.reach + mixer.pattern.cycle
    for size in [1, 40, 1, 1, 1, 2, 150, 1, 7] * 3:
        block, rest = rest[:, :size], rest[:, size:]
        if block.shape[1] == 0:
            break
        if size == 1:
            y, state = mixer.step(block[:, 0], state)
            outputs.append(y[:, None])
        else:
            y, state = mixer.scan(block, state)
            outputs.append(y)
        assert float(state.n_seen.max()) < largest
    assert rest.shape[1] == 0
    assert error(torch.cat(outputs, 1), whole) < 1e-12


def test_patterns_say_what_they_are():
    for name, own in PATTERNS.items():
        pattern = block_pattern(name, 8)
        assert all(f"{key}={value}" in str(pattern) for key, value in own.items())
    with pytest.raises(ValueError, match="`stride` must not be given for the pattern local"):
        BlockSparseAttention(8, pattern="local", stride=3)
    with pytest.raises(ValueError, match="`n_global` must not be given for the pattern strided"):
        BlockSparseAttention(8, pattern="strided", n_global=1)
    with pytest.raises(ValueError, match="did you mean local"):
        BlockSparseAttention(8, pattern="locl")
    for option, value in (("block_size", 0), ("n_factors", -1), ("n_factors", 1.5), ("n_global", True)):
        with pytest.raises(ValueError, match=f"`{option}` must be a whole number"):
            BlockSparseAttention(8, **{option: value})
    with pytest.raises(ValueError, match="`stride` must be a whole number of at least 1, got 0"):
        BlockSparseAttention(8, pattern="strided", stride=0)


def test_turns_are_as_exact_after_ten_million_samples():
    frequencies = rotary_frequencies(8)
    turns = torch.zeros(1, 4, dtype=torch.float64)
    for _ in range(20):
        turns = rotary_turns(500_000, frequencies, rate=0.5, before=turns)[:, -1]
    for _ in range(10):
        turns = turned_on(turns, torch.tensor([0.5]), frequencies)
    # Whole numbers of a fine grid, so that what is compared with is exact.
    count = 20 * 500_000 + 10
    exact = [int(f * 2.0**60) * count // 2 % 2**60 / 2.0**60 for f in frequencies.tolist()]
    away = np.abs(turns.numpy()[0] - exact)
    assert np.minimum(away, 1 - away).max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stream_that_has_run_for_long_equals_the_whole(dtype):
    torch.manual_seed(0)
    mixer = Attention(D, n_heads=2, window=9).to(dtype)
    u = torch.randn(1, 40, D, dtype=dtype)
    state = mixer.initial_state(1)
    state = state._replace(turns=torch.rand_like(state.turns))  # of whatever sample came before
    y, _ = mixer.scan(u, state, rate=1.5)
    assert error(y, mixer(u, rate=1.5)) < (2e-6 if dtype == torch.float32 else 1e-13)


def test_heads_by_default_and_shared_heads():
    chosen = {width: Attention(width).n_heads for width in (256, 128, 96, 37, 6)}
    assert chosen == {256: 8, 128: 4, 96: 3, 37: 1, 6: 1}
    torch.manual_seed(0)
    shared, full = Attention(D, n_heads=4, n_kv_heads=2).double(), Attention(D, n_heads=4).double()
    size = shared.head_size
    order = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    rows = torch.cat([torch.arange(i * size, (i + 1) * size) for i in order])
    full.project.load_state_dict({name: value[rows] for name, value in shared.project.state_dict().items()})
    full.out.load_state_dict(shared.out.state_dict())
    u = torch.randn(2, 20, D, dtype=torch.float64)
    assert error(shared(u), full(u)) < 1e-13
    assert shared.initial_state(1).keys.shape == (1, 2, 1024, size)


def test_only_rotary_positions_know_time():
    assert Attention(D).uses_rate
    assert not Attention(D, positions="none").uses_rate
    assert not BlockSparseAttention(D, positions="learned").uses_rate


@pytest.mark.parametrize("cls", [Attention, BlockSparseAttention])
def test_weights_are_dropped_in_training_only(cls):
    torch.manual_seed(0)
    mixer = cls(D, attention_dropout=0.4)
    u, state = torch.randn(1, 30, D), mixer.initial_state(1)
    _, state = mixer.scan(u, state)
    forms = (lambda: mixer(u), lambda: mixer.scan(u, state)[0], lambda: mixer.step(u[:, 0], state)[0])
    exact = []
    for form in forms:
        dropped = torch.stack([form() for _ in range(150)])
        assert not torch.equal(dropped[0], dropped[1])
        mixer.eval()
        exact.append(form())
        assert torch.equal(exact[-1], form())
        mixer.train()
        assert error(dropped.mean(0), exact[-1]) < 0.2
    torch.manual_seed(3)
    first = mixer(u)
    torch.manual_seed(3)
    assert torch.equal(first, mixer(u))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_heads": 5}, "`n_heads` must divide d_model, got 5 for 12; change one of them"),
        ({"n_heads": 0}, "`n_heads` must be a whole number of at least 1, got 0"),
        ({"n_heads": 4, "n_kv_heads": 3}, "`n_kv_heads` must divide n_heads, got 3 for 4; change one of them"),
        ({"n_heads": 12}, "`n_heads` must leave at least 2 channels a head for rotary positions, got 12 of 12; take"),
        ({"positions": "rotery"}, "did you mean rotary"),
        ({"window": 0}, "`window` must be a whole number of at least 1, got 0"),
        ({"window": 8.0}, "`window` must be a whole number of at least 1, got 8.0"),
        ({"max_length": 0}, "`max_length` must be a whole number of at least 1, got 0"),
        ({"attention_dropout": 1.0}, "`attention_dropout` must lie between 0 and 1"),
        ({"causal": "yes"}, "`causal` must be true or false, got 'yes'"),
        ({"bias": 1}, "`bias` must be true or false, got 1"),
    ],
)
def test_wrong_options_have_one_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        Attention(D, **options)


def test_what_cannot_stream_says_why():
    for mixer, words in (
        (Attention(D, window=None), "Attention cannot stream, because it reads all of the past, which has no bound"),
        (Attention(D, causal=False), "it reads samples of both sides; train it with causal=True"),
        (Attention(D, positions="learned"), "its learned positions end after 1024 samples; train it with positions="),
        (BlockSparseAttention(D, pattern="strided"), "its strided pattern reads all of the past"),
    ):
        with pytest.raises(ValueError, match=words):
            mixer.initial_state(1)
    with pytest.raises(ValueError, match="`max_length` must be at least the length of a series, got 8 for 9 samples"):
        Attention(D, positions="learned", max_length=8)(torch.zeros(1, 9, D))
