"""The codec and both ends of a cut: what is sent, how long it is, what both remember, and what is refused."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from seqkit.checks import NotFiniteError
from seqkit.distributed import DeltaCodec, MessageError, MessageStore, Receiver, Sender, WireMeter

ALL_BITS = [*range(1, 9), 16, 32]


def ends(codec: DeltaCodec, shape=(8, 32), remembers=True, **store) -> tuple[Sender, Receiver]:
    a, b = (MessageStore(shape, **store), MessageStore(shape, **store)) if remembers else (None, None)
    return Sender(codec, shape, a), Receiver(codec, shape, b)


def visit(sender: Sender, receiver: Receiver, ids: list, x: Tensor, step: int = 0) -> Tensor:
    """Sends samples and returns what arrives; the length is predicted by both ends before."""
    predicted = sender.wire_bytes(ids), receiver.wire_bytes(ids)
    blob = sender.encode(ids, x, step=step)
    assert predicted == (len(blob), len(blob))
    assert blob.dtype == torch.uint8
    m = receiver.decode(ids, blob, step=step)
    if sender.side.store is not None:
        assert sender.side.store.digest() == receiver.side.store.digest()
        assert torch.equal(sender.side.store.read(ids), m)
    return m


def relative(x: Tensor, y: Tensor) -> float:
    return float((x - y).norm() / x.norm())


@pytest.mark.parametrize("bits", ALL_BITS)
def test_length_is_the_formula(bits: int) -> None:
    for shape in ((1, 1), (3, 7), (2, 5, 33), (1, 128)):
        n = math.prod(shape[1:])
        codec, x = DeltaCodec(bits, group=32), torch.randn(shape)
        blob = codec.encode(x)
        groups = math.ceil(n / 32) if bits <= 8 else 0
        assert len(blob) == codec.wire_bytes(shape) == shape[0] * (math.ceil(n * bits / 8) + 2 * groups)
        y = codec.decode(blob, shape)
        assert y.shape == x.shape
        assert y.dtype == torch.float32
        if bits == 32:
            assert torch.equal(x, y)
        if bits == 16:
            assert torch.equal(x.bfloat16().float(), y)


def test_each_kind_of_input_is_taken() -> None:
    codec = DeltaCodec(4)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        x = torch.randn(2, 64).to(dtype)
        assert torch.equal(codec.decode(codec.encode(x), (2, 64)), codec.decode(codec.encode(x.float()), (2, 64)))
    assert codec.encode(torch.randn(2, 64, requires_grad=True)).requires_grad is False
    onto = torch.ones(2, 3)
    wide = DeltaCodec(16)
    assert torch.equal(wide.decode_rows(wide.encode_rows(onto), 3, onto=onto), 2 * onto)


def test_stochastic_codes_follow_the_generator() -> None:
    x = torch.randn(2, 64)

    def blob(seed: int) -> Tensor:
        return DeltaCodec(4, rounding="stochastic", generator=torch.Generator().manual_seed(seed)).encode(x)

    assert torch.equal(blob(1), blob(1))
    assert not torch.equal(blob(1), blob(2))
    codec = DeltaCodec(4, rounding="stochastic")
    assert not torch.equal(codec.encode(x), codec.encode(x))  # each message draws anew


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("store", [{}, {"dtype": torch.bfloat16}, {"bits": 8}, {"bits": 4, "group": 32}], ids=str)
def test_both_ends_stay_equal_whatever_the_samples_do(bits: int, store: dict) -> None:
    sender, receiver = ends(DeltaCodec(bits, rounding="stochastic" if bits <= 8 else "nearest"), **store)
    for turn in range(4):
        ids = torch.randperm(12)[:5].tolist()
        x = torch.randn(5, 8, 32) * 10 ** torch.randn(5, 1, 1)
        m = visit(sender, receiver, ids, x, turn)
        assert m.shape == x.shape
    assert sender.meter.bytes == receiver.meter.bytes
    assert sender.meter.direct_rows == receiver.meter.direct_rows


def test_first_visit_is_exact_and_a_second_of_the_same_values_changes_nothing() -> None:
    sender, receiver = ends(DeltaCodec(2, group=32))
    x = torch.randn(3, 8, 32)
    for turn in range(3):
        assert torch.equal(visit(sender, receiver, [4, "b", 9], x), x)
        assert sender.meter.full_rows == 3
        assert sender.meter.change == 0
        assert sender.meter.error == 0
        assert sender.meter.rows == 3 * (turn + 1)


@pytest.mark.parametrize(
    ("bits", "group", "rounding", "ratio"),
    [(2, 64, "nearest", 0.78), (2, 16, "nearest", 0.63), (3, 64, "stochastic", 0.39), (4, 64, "stochastic", 0.165)],
)  # "absmax", whose error is that of the theory's table
def test_error_of_a_sample_that_stays_falls_at_each_visit(bits: int, group: int, rounding: str, ratio: float) -> None:
    codec = DeltaCodec(bits, group, rounding, torch.Generator().manual_seed(1), scale="absmax")
    sender, receiver = ends(codec, (4, 256))
    visit(sender, receiver, [0, 1], torch.randn(2, 4, 256))
    x = 3 * torch.randn(2, 4, 256)  # so large that the first change is smaller than it is
    before, found = relative(x, sender.side.store.read([0, 1])), []
    for _ in range(40):
        now = relative(x, visit(sender, receiver, [0, 1], x))
        if now < 2e-7:  # float32's own rounding
            break
        found.append(now / before)
        before = now
    assert before < 1e-6 or now < 2e-7
    assert max(found) <= ratio * 1.05 or now < 1e-6
    assert sum(math.log(one) for one in found) / len(found) < math.log(ratio)


@pytest.mark.parametrize("drift", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("noise", [torch.randn, lambda *size: torch.distributions.Laplace(0.0, 0.7).sample(size)])
def test_the_minimax_step_has_less_error_whichever_way_values_move(noise, drift: float) -> None:
    found = {}
    for scale in ("absmax", "minimax"):
        torch.manual_seed(0)
        codec, way = DeltaCodec(2, scale=scale), noise(1, 4096)
        assert DeltaCodec(2).scale == "minimax"
        sender, _ = ends(codec, (4096,))
        x = 5 * torch.randn(1, 4096)
        for epoch in range(8):
            x = x + 0.9**epoch * (drift * way + (1 - drift) * noise(1, 4096))
            sender.encode([0], x)
        found[scale] = relative(x, sender.side.store.read([0]))
    assert found["minimax"] < 0.9 * found["absmax"]


def test_two_bits_stochastic_in_large_groups_do_not_settle() -> None:
    """The theory wants an error below 0.7 of what is coded; here it is 1.26, and the meter says so."""
    codec = DeltaCodec(2, 512, "stochastic", torch.Generator().manual_seed(1))
    sender, receiver = ends(codec, (2048,))
    x = torch.randn(2, 2048)
    visit(sender, receiver, [0, 1], torch.randn(2, 2048) * 0.3)
    for _ in range(8):
        last = visit(sender, receiver, [0, 1], x)
    assert relative(x, last) > 0.7
    assert sender.meter.code_error > 0.9
    with pytest.warns(UserWarning, match="cut 0: 2 bits lose .* take more bits or smaller groups"):
        assert sender.meter.warn("cut 0", 2)


def test_dropout_at_the_cut_keeps_a_floor() -> None:
    sender, receiver = ends(DeltaCodec(4, group=32), (2048,))
    x, errors = torch.randn(4, 2048), []
    for _ in range(6):
        dropped = torch.nn.functional.dropout(x, 0.1)
        errors.append(relative(dropped, visit(sender, receiver, [0, 1, 2, 3], dropped)))
    assert errors[0] == 0
    for error in errors[2:]:
        assert 0.03 < error < 0.045
    assert sender.meter.relative_change == pytest.approx(0.47, rel=0.15)


def test_a_sample_whose_history_is_of_no_use_is_coded_directly() -> None:
    sender, receiver = ends(DeltaCodec(4), (2048,))
    visit(sender, receiver, [0, 1], torch.randn(2, 2048))
    m = sender.side.store.read([0, 1])
    x = torch.randn(2, 2048)
    x[1] = m[1] * 1.01
    assert relative(x[0], m[0]) == pytest.approx(math.sqrt(2), rel=0.05)
    got = visit(sender, receiver, [0, 1], x)
    assert sender.meter.direct_rows == receiver.meter.direct_rows == 1
    direct = DeltaCodec(4)
    assert torch.equal(got[:1], direct.decode(direct.encode(x[:1]), (1, 2048)))
    assert relative(x[1], got[1]) < 0.01


def test_errors_per_epoch_fall_with_history_and_stay_without() -> None:
    """Values that settle, as activations of a model that converges do."""
    found = {}
    for remembers in (True, False):
        sender, receiver = ends(DeltaCodec(3), (512,), remembers)
        torch.manual_seed(0)
        x, errors = torch.randn(6, 512), []
        for epoch in range(7):
            x = x + torch.randn(6, 512) * 0.5 * 0.6**epoch
            sender.meter.reset()
            visit(sender, receiver, list(range(6)), x)
            errors.append(sender.meter.relative_error)
        found[remembers] = errors
    falling = found[True][1:]
    assert all(after <= 1.1 * before for before, after in itertools.pairwise(falling))
    assert falling[-1] < 0.2 * falling[0]
    flat = found[False]
    assert max(flat) / min(flat) < 1.1


def test_a_sample_that_was_left_out_at_first_comes_in_full_later() -> None:
    sender, receiver = ends(DeltaCodec(2), (64,))
    visit(sender, receiver, [0, 1], torch.randn(2, 64))
    x = torch.randn(2, 64)
    got = visit(sender, receiver, [1, 2], x)
    assert torch.equal(got[1], x[1])
    assert sender.meter.full_rows == 3


def test_direct_quantisation_needs_no_buffer() -> None:
    sender, receiver = ends(DeltaCodec(4), (64,), remembers=False)
    x = torch.randn(3, 64)
    want = DeltaCodec(4).decode(DeltaCodec(4).encode(x), (3, 64))
    for _ in range(2):
        assert torch.equal(visit(sender, receiver, [0, 1, 2], x), want)
    assert sender.meter.share_full == 0


def test_meter_counts_what_crosses() -> None:
    sender, _ = ends(DeltaCodec(4), (64,))
    sizes = [len(sender.encode([0, 1], torch.randn(2, 64))) for _ in range(2)]
    assert sender.meter.bytes == sum(sizes)
    assert sender.meter.plain_bytes == 2 * 2 * 64 * 4
    assert sender.meter.summary()["share_full"] == 0.5
    assert sender.meter.ratio == pytest.approx(1024 / sum(sizes))
    assert WireMeter().relative_error == WireMeter().code_error == WireMeter().relative_change == 0
    assert not WireMeter().warn("cut", 4)


BROKEN = {
    "a flipped bit": (lambda blob: blob.index_fill(0, torch.tensor([len(blob) - 3]), 77), "is broken"),
    "a flipped flag": (lambda blob: blob.index_fill(0, torch.tensor([48]), 9), "is broken"),
    "cut short": (lambda blob: blob[:-1], "must be in full"),
    "nothing": (lambda blob: blob[:3], "a message must be uint8 of"),
    "something else": (lambda blob: blob.flip(0), "is not one of this protocol"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_message_is_refused_and_changes_nothing(case: str) -> None:
    sender, receiver = ends(DeltaCodec(4), (64,))
    visit(sender, receiver, [0], torch.randn(1, 64))
    before = receiver.side.store.digest()
    change, words = BROKEN[case]
    with pytest.raises(MessageError, match=words):
        receiver.decode([0], change(sender.encode([0], torch.randn(1, 64))))
    assert receiver.side.store.digest() == before


def test_ends_that_differ_are_named() -> None:
    x = torch.randn(2, 64)

    def mismatch(codec=None, ids=(0, 1), step=0, shape=(64,), store=True, words="") -> None:
        sender = Sender(DeltaCodec(4), (64,), MessageStore((64,)), name="cut 1")
        own = MessageStore(shape) if store else None
        receiver = Receiver(codec or DeltaCodec(4), shape, own, name="cut 1")
        with pytest.raises(MessageError, match=words):
            receiver.decode(list(ids), sender.encode([0, 1], x), step=step)

    mismatch(DeltaCodec(2), words="cut 1: both ends must use the same options, got bits 4 and 2")
    mismatch(DeltaCodec(4, 32), words="got group 64 and 32")
    mismatch(shape=(63,), words="got numbers a sample 64 and 63")
    mismatch(store=False, words="must have a buffer or none")
    mismatch(ids=(1, 0), words="must be of samples 1, 0")
    mismatch(ids=(0, 1, 2), words="must be of samples 0, 1, 2")
    mismatch(step=3, words="must be of step 3, got step 0; one was lost or came twice")


def test_buffers_that_know_other_samples_are_named() -> None:
    sender, receiver = ends(DeltaCodec(4), (64,))
    sender.encode([0], torch.randn(1, 64))
    with pytest.raises(MessageError, match="do not know the same samples, load both from one checkpoint"):
        receiver.decode([0], sender.encode([0], torch.randn(1, 64)))


@pytest.mark.parametrize("remembers", [True, False])
def test_values_that_are_not_finite_are_refused_before_they_are_remembered(remembers: bool) -> None:
    sender, receiver = ends(DeltaCodec(4), (64,), remembers)
    visit(sender, receiver, [7, 8], torch.randn(2, 64))
    before = sender.side.store.digest() if remembers else ""
    for bad in (math.nan, math.inf):
        x = torch.randn(2, 64)
        x[1, 5] = bad
        with pytest.raises(NotFiniteError, match="`x` must be finite, got NaN or infinite values for samples 8"):
            sender.encode([7, 8], x)
    assert not remembers or sender.side.store.digest() == before
    huge = torch.full((2, 64), 3e38)  # finite, though its sum is not
    sender.encode([9, 10], huge)


WRONG = [
    (lambda: DeltaCodec(9), "`bits` must be a whole number from 1 to 8, or 16 or 32, got 9"),
    (lambda: DeltaCodec(True), "`bits` must be a whole number from 1 to 8, or 16 or 32, got True"),
    (lambda: DeltaCodec(4, 20), "`group` must be a multiple of 8 up to 65528, got 20"),
    (lambda: DeltaCodec(4, rounding="up"), "`rounding` must be one of nearest, stochastic"),
    (
        lambda: DeltaCodec(4, rounding="stochastic", scale="minimax"),
        '`scale` must be "absmax" with stochastic rounding',
    ),
    (lambda: DeltaCodec(4).decode(torch.zeros(3, dtype=torch.uint8), (1, 64)), r"`blob` must have shape \(34,\)"),
    (lambda: Sender(DeltaCodec(4), (64,), MessageStore((63,))), r"`store` must hold samples \(64,\), got \(63,\)"),
    (lambda: Sender(DeltaCodec(4), (64,)).encode([0], torch.zeros(2, 64)), r"`x` must have shape \(1, 64\)"),
    (lambda: Sender(DeltaCodec(4), (64,)).encode([0, 0], torch.zeros(2, 64)), "each sample once, got 0 twice"),
    (lambda: Sender(DeltaCodec(4), (64,)).wire_bytes([0.5]), "`ids` must be whole numbers or strings, got 0.5"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_wrong_arguments_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
