"""One life for everything that streams: any chunking, rate, gap, snapshot and fork equals the offline form."""

import importlib.util
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seqkit import S4D, Stream, StreamPool
from seqkit.streaming import from_bytes, to_bytes

_spec = importlib.util.spec_from_file_location("seqkit_contract_subjects", Path(__file__).with_name("subjects.py"))
subjects = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(subjects)

NEED_SKTIME = importlib.util.find_spec("sktime") is None or importlib.util.find_spec("lightning") is None
NAMES = [*subjects.MIXERS, *subjects.MODELS, *subjects.MEMORIES]
FITTED = list(subjects.ESTIMATORS)
ALL = [*NAMES, *(pytest.param(name, marks=pytest.mark.skipif(NEED_SKTIME, reason="needs sktime")) for name in FITTED)]
DTYPES = ("float32", "float64")
MOST_BYTES = 8192
"""Of a state of the small subjects here, features apart, whose 20 filters take a block each."""

quick = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # what fails is short already; to shorten it would take minutes
    suppress_health_check=list(HealthCheck),
)
everything = pytest.mark.parametrize("name", ALL)
# A chunk is its length; what is done before it: nothing, a snapshot into a new object, a fork, a refused push.
chunks = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["", "snapshot", "fork", "refuse", "block"])), min_size=2, max_size=7
)
manners = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "chunks": chunks,
        "time": st.sampled_from(["", "rate", "uneven", "dates"]),
        "gaps": st.booleans(),
    }
)


def relative(mine, theirs):
    """Root mean square of the difference over that of the second."""
    a, b = np.asarray(mine, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert a.shape == b.shape
    return float(np.sqrt(((a - b) ** 2).mean()) / max(np.sqrt((b**2).mean()), 1e-30))


def signal(subject, length, seed, gaps=False):
    """Samples (L, C), numbers of float32 so that all dtypes see the same."""
    random = np.random.default_rng(seed)
    u = random.standard_normal((length, subject.channels)).astype(np.float32).astype(np.float64)
    if gaps and subject.gaps:
        u[random.random(u.shape) < 0.3] = np.nan
        u[length // 2, 0] = 0.5
    return u


def timing(subject, time, length, seed):
    """Rate, seconds as the offline form takes them, and as a stream does."""
    if not subject.timed or not time:
        return 1.0, None, None
    if time == "rate":
        return (0.5, 2.0, 3.0)[seed % 3], None, None
    seconds = np.random.default_rng(seed).uniform(0.2, 2.5, length).round(3).cumsum() / subject.unit
    if time == "uneven":
        return 1.0, seconds, seconds
    seconds = (seconds * 1000).round() / 1000
    return 1.0, seconds, np.datetime64("1970-01-01") + (seconds * 1000).round().astype("timedelta64[ms]")


def opened(subject, dtype, rate=1.0, backend="auto"):
    told = None if rate == 1 else subject.unit / rate
    return Stream(subject.what, dtype=dtype, sample_rate=told, backend=backend, **subject.options)


def backends(subject):
    """The ways that a subject can run on this machine."""
    found = ["auto"]
    for backend in ("torch", "fused"):
        try:
            Stream(subject.what, backend=backend, **subject.options)
        except (ValueError, ImportError):
            continue
        found.append(backend)
    return found


def same(mine, theirs):
    return mine.keys() == theirs.keys() and all(
        torch.equal(torch.nan_to_num(mine[name], nan=9e9), torch.nan_to_num(theirs[name], nan=9e9)) for name in mine
    )


def refused(stream, subject, rng):
    """A push that cannot be taken leaves everything as it was."""
    before = stream.state_dict()
    bad = [np.zeros(subject.channels + 1), np.full(subject.channels, np.inf), np.zeros((0, subject.channels))]
    with pytest.raises(ValueError, match="`x`"):
        stream.push(bad[rng.integers(3)])
    assert same(before, stream.state_dict())


@everything
@pytest.mark.parametrize("dtype", DTYPES)
@quick
@given(how=manners)
def test_any_chunking_equals_the_offline_form(name, dtype, how):
    subject = subjects.subject(name)
    if dtype not in subject.dtypes:
        return
    length = max(5, sum(n for n, _ in how["chunks"]))
    u = signal(subject, length, how["seed"], how["gaps"])
    rate, seconds, times = timing(subject, how["time"], length, how["seed"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = subject.whole(u, getattr(torch, dtype), rate, seconds)
    kinds = backends(subject)
    rng = np.random.default_rng(how["seed"])
    stream, outputs, k = opened(subject, dtype, rate, kinds[how["seed"] % len(kinds)]), [], 0
    plan = [*how["chunks"], (length, "")]
    for n, first in plan:
        if first == "snapshot":
            other = opened(subject, dtype, rate, kinds[int(rng.integers(len(kinds)))])
            other.load_state_dict(from_bytes(to_bytes(stream.state_dict())))
            stream = other
        elif first == "fork":
            fork = stream.fork()
            fork.push(np.ones(subject.channels), None if times is None else times[-1] + (times[-1] - times[0]))
            assert fork.count == stream.count + 1
        elif first == "refuse":
            refused(stream, subject, rng)
        stop = min(length, k + n)
        if stop == k:
            continue
        when = None if times is None else times[k:stop]
        if stop == k + 1 and first != "block":
            found = stream.push(u[k], None if when is None else when[0])[None]
        else:
            found = stream.push(u[k:stop], when)
        if stream.engine.per_sample:
            outputs.extend(found)
        k = stop
    assert len(stream) == stream.count == length
    mine = np.stack(outputs) if stream.engine.per_sample else stream.output
    assert relative(mine, expected) < subject.limit[dtype]
    if stream.engine.per_sample:
        np.testing.assert_array_equal(mine[-1], stream.output)


@everything
@quick
@given(
    seed=st.integers(0, 2**16),
    turns=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True), min_size=3, max_size=12),
    timed=st.booleans(),
    gaps=st.booleans(),
)
def test_a_pool_is_as_many_streams(name, seed, turns, timed, gaps):
    subject = subjects.subject(name)
    dtype = subject.dtypes[-1]
    timed = timed and subject.timed
    rng = np.random.default_rng(seed)
    pool = StreamPool(subject.what, capacity=1, dtype=dtype, **subject.options)
    alone = {k: opened(subject, dtype) for k in range(5)}
    clock = dict.fromkeys(range(5), 0.0)
    for turn in turns:
        u = signal(subject, len(turn), int(rng.integers(2**16)), gaps)
        times = None
        if timed:
            for k in turn:
                clock[k] += float(rng.uniform(0.2, 2)) / subject.unit
            times = [clock[k] for k in turn]
        action = rng.integers(6)
        if action == 0:
            alone[turn[0]].reset()
            if turn[0] in pool and rng.integers(2):
                pool.close(turn[0])  # it begins anew below
            elif turn[0] in pool:
                pool.reset([turn[0]])
        elif action == 1 and turn[0] in pool:
            other = StreamPool(subject.what, dtype=dtype, **subject.options)
            for stream in pool.ids():
                other.load_state_dict(stream, from_bytes(to_bytes(pool.state_dict(stream))))
            pool = other
        elif action == 2 and turn[0] in pool:
            pool.fork(turn[0], "fork")
            pool.push(["fork"], u[:1], None if times is None else times[:1])
            pool.close("fork")
        found = pool.push(turn, u, times)
        each = [alone[k].push(u[i], None if times is None else times[i]) for i, k in enumerate(turn)]
        assert relative(found, np.stack(each)) < 10 * subject.limit[dtype]
        if action == 3:
            block = signal(subject, 4, int(rng.integers(2**16)), gaps)
            when = None
            if timed:
                when = clock[turn[0]] + rng.uniform(0.2, 2, 4).cumsum() / subject.unit
                clock[turn[0]] = float(when[-1])
            found = pool.push_block(turn[0], block, when)
            assert relative(found, alone[turn[0]].push(block, when)) < 10 * subject.limit[dtype]
    for k in pool.ids():
        assert pool.count(k) == alone[k].count
        assert pool.time(k) == alone[k].time
        assert relative(pool.output(k), alone[k].output) < 10 * subject.limit[dtype]


@everything
def test_the_state_is_small_and_stays_so(name):
    subject = subjects.subject(name)
    stream, sizes = opened(subject, subject.dtypes[0]), set()
    u = signal(subject, 400, 0, gaps=True)
    for first, stop in ((0, 1), (1, 2), (2, 60), (60, 400)):
        stream.push(u[first:stop])
        sizes.add((len(to_bytes(stream.state_dict())), *(tensor.shape for tensor in stream.state_dict().values())))
        held = [tensor.untyped_storage().nbytes() for tensor in _tensors(stream)]
        assert sum(held) <= 2 * sum(tensor.nbytes for tensor in stream.state_dict().values())
    assert len(sizes) == 1
    assert max(size[0] for size in sizes) < (65_536 if "Features" in name else MOST_BYTES)


def _tensors(stream):
    """Tensors that a stream keeps alive, where its engine keeps tensors."""
    return stream._states.values() if isinstance(stream._states, dict) else []


@everything
def test_reset_begins_anew(name):
    subject = subjects.subject(name)
    stream, other = (opened(subject, subject.dtypes[0]) for _ in range(2))
    u = signal(subject, 12, 0)
    stream.push(u)
    stream.reset()
    assert (stream.count, stream.time) == (0, None)
    with pytest.raises(ValueError, match="push one first"):
        _ = stream.output
    np.testing.assert_array_equal(stream.push(u[:3]), other.push(u[:3]))


@everything
def test_what_a_caller_holds_is_apart_from_the_stream(name):
    subject = subjects.subject(name)
    stream, other = (opened(subject, subject.dtypes[0]) for _ in range(2))
    u = signal(subject, 9, 0)
    for k in (slice(0, 1), slice(1, 9)):
        mine = u[k].astype(stream.engine.sample_dtype)
        given = mine[0] if len(mine) == 1 else mine
        found = stream.push(given)
        given[...] = found[...] = stream.output[...] = 99.0
        for tensor in stream.state_dict().values():
            tensor.zero_()
        other.push(u[0] if len(mine) == 1 else u[k])
    assert same(stream.state_dict(), other.state_dict())
    first = stream.state_dict()
    fork = stream.fork()
    fork.push(u[0])
    fork.push(u)
    assert same(stream.state_dict(), first)


BAD_SAMPLES = {
    "another number of channels": lambda c: np.zeros(c + 1),
    "no channels": lambda c: np.zeros(0),
    "an empty block": lambda c: np.zeros((0, c)),
    "three axes": lambda c: np.zeros((1, 1, c)),
    "texts": lambda c: np.full(c, "1"),
    "objects": lambda c: np.full(c, None),
    "infinite": lambda c: np.full(c, -np.inf),
    "beyond the dtype": lambda c: np.full((3, c), 1e300),
    "ragged": lambda c: [[0.0] * c, [0.0] * (c + 1)],
    "complex": lambda c: np.zeros(c, dtype=complex),
}
BAD_TIMES = {
    "the same again": 3.0,
    "before": 1.0,
    "NaN": np.nan,
    "infinite": np.inf,
    "no date": np.datetime64("NaT"),
    "text": "4.0",
    "two for one": [4.0, 5.0],
    "truth": True,
}


@everything
def test_extreme_values_are_refused_or_leave_the_stream_sound(name):
    subject = subjects.subject(name)
    dtype = subject.dtypes[0]
    u = signal(subject, 4, 0)
    times = iter(range(1, 99)) if subject.timed else None
    # A mixer that multiplies its inputs has its own reach; in a model a norm comes before it.
    for size in (1e6,) if name.startswith("mixer monarch") else (1e14, 1e19, 3e38):
        stream, pool = opened(subject, dtype), StreamPool(subject.what, dtype=dtype, **subject.options)
        stream.push(u[:2], None if times is None else [next(times), next(times)])
        for x in (size * np.sign(u[2]), np.stack([u[2], -size * np.sign(u[3])])):
            n = len(np.atleast_2d(x))
            now = None if times is None else [next(times) for _ in range(n)]
            before = stream.state_dict()
            try:
                outputs = stream.push(x, now)
            except ValueError:
                assert same(stream.state_dict(), before)
                with pytest.raises(ValueError):  # noqa: PT011
                    pool.push_block("new", np.atleast_2d(x), now)
                assert pool.ids() == []
            else:
                assert np.isfinite(outputs).all(), size
            assert np.isfinite(stream.push(u[2], None if times is None else next(times))).all(), size


@everything
def test_what_cannot_be_taken_leaves_everything_as_it_was(name):
    subject = subjects.subject(name)
    dtype = subject.dtypes[0]
    stream, pool = opened(subject, dtype), StreamPool(subject.what, capacity=1, dtype=dtype, **subject.options)
    u = signal(subject, 4, 0)
    timed = subject.timed
    stream.push(u[:3], [1.0, 2.0, 3.0] if timed else None)
    pool.push_block("a", u[:3], [1.0, 2.0, 3.0] if timed else None)
    before, there = stream.state_dict(), pool.state_dict("a")
    now = 4.0 if timed else None
    bad = [
        (make(subject.channels), now)
        for case, make in BAD_SAMPLES.items()
        if case != "beyond the dtype" or dtype == "float32"
    ]
    bad += [(u[3], time) for time in BAD_TIMES.values()]
    bad += [(u[3], None if timed else 4.0), (u[2:4], [5.0, 4.0]), (u[2:4], [4.0, 4.0]), (u[2:4], 4.0)]
    if not subject.gaps:
        bad.append((np.full(subject.channels, np.nan), now))
    for x, time in bad:
        with pytest.raises(ValueError):  # noqa: PT011 - the words are looked at in the tests of samples
            stream.push(x, time)
        many = [u[3], x]
        with pytest.raises(ValueError):  # noqa: PT011
            pool.push(["new", "a"], many, None if now is None and time is None else [now, time])
        with pytest.raises(ValueError):  # noqa: PT011
            pool.push_block("a", x if np.ndim(x) == 2 else u[3], time)
        assert same(stream.state_dict(), before)
        assert same(pool.state_dict("a"), there)
        assert pool.ids() == ["a"]
    stream.push(u[3], now)
    pool.push(["a"], u[3:4], [now] if timed else None)
    assert relative(stream.output, pool.output("a")) < 10 * subject.limit[dtype]


def spoiled(tensors):
    """Snapshots that are not those of the same stream, and what is said of them."""
    some = next((name for name in tensors if name.startswith("state.")), None)
    yield "format 2", {**tensors, "format": torch.tensor([2])}
    yield "another model or dtype", {**tensors, "fingerprint": tensors["fingerprint"] ^ 1}
    yield "lacks count", {name: tensor for name, tensor in tensors.items() if name != "count"}
    yield "lacks format, fingerprint", {}
    yield "`output` must have shape", {**tensors, "output": torch.zeros(3, 1, 4)}
    if some is not None:
        yield f"`{some}` must be", {name: tensor for name, tensor in tensors.items() if name != some}
        yield f"`{some}` must be", {**tensors, some: tensors[some][None]}
        yield f"`{some}` must be", {**tensors, some: tensors[some].to(torch.int8)}


@everything
def test_a_state_of_something_else_is_refused(name):
    subject = subjects.subject(name)
    dtype = subject.dtypes[0]
    stream, pool = opened(subject, dtype), StreamPool(subject.what, dtype=dtype, **subject.options)
    u = signal(subject, 6, 0)
    stream.push(u)
    pool.push_block(1, u)
    before = stream.state_dict()
    data = to_bytes(before)
    for words, wrong in spoiled(before):
        for load in (stream.load_state_dict, lambda wrong: pool.load_state_dict(2, wrong)):
            with pytest.raises(ValueError, match=words):
                load(wrong)
    for cut in (0, 7, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match="damaged"):
            from_bytes(data[:cut])
    if len(subject.dtypes) > 1:
        other = opened(subject, subject.dtypes[1])
        with pytest.raises(ValueError, match="another model or dtype"):
            other.load_state_dict(before)
    assert same(stream.state_dict(), before)
    assert pool.ids() == [1]


def test_a_state_goes_on_in_another_process(tmp_path):
    subject = subjects.subject("model s4d")
    u = signal(subject, 20, 0)
    stream = opened(subject, "float32")
    stream.push(u[:9])
    stream.save(tmp_path / "state.safetensors")
    np.save(tmp_path / "rest.npy", u[9:])
    code = f"""
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("subjects", {str(Path(__file__).with_name("subjects.py"))!r})
subjects = importlib.util.module_from_spec(spec)
sys.modules["subjects"] = subjects
spec.loader.exec_module(subjects)
from seqkit import Stream
stream = Stream(subjects.subject("model s4d").what)
stream.restore("state.safetensors")
stream.push(np.load("rest.npy"))
np.save("output.npy", stream.output)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    stream.push(u[9:])
    np.testing.assert_allclose(np.load(tmp_path / "output.npy"), stream.output, rtol=1e-6)


def test_a_pool_keeps_its_names_and_its_room(tmp_path):
    subject = subjects.subject("model s4d")
    pool = StreamPool(subject.what, capacity=2)
    u = signal(subject, 40, 0)
    pool.push(range(40), u)  # more than there was room for
    pool.open("empty")
    assert (len(pool), pool.count("empty"), pool.count("unknown"), "empty" in pool) == (41, 0, 0, True)
    assert list(pool)[-1] == "empty"
    pool.save(tmp_path / "pool.safetensors")
    other = StreamPool(subject.what)
    other.push(["mine"], u[:1])
    other.restore(tmp_path / "pool.safetensors")
    assert other.ids() == pool.ids()  # whole numbers stay whole numbers
    np.testing.assert_array_equal(other.output(7), pool.output(7))
    with pytest.raises(FileNotFoundError, match="no snapshot"):
        other.restore(tmp_path / "none")
    (tmp_path / "pool.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="damaged"):
        other.restore(tmp_path / "pool.safetensors")
    assert other.ids() == pool.ids()
    for name in ("unknown", "mine"):
        for act in (
            other.close,
            other.output,
            other.predict,
            other.state_dict,
            other.time,
            lambda one: other.fork(one, 99),
        ):
            with pytest.raises(KeyError, match="no stream"):
                act(name)
    with pytest.raises(ValueError, match="answers from its first sample"):
        other.predict("empty")
    with pytest.raises(ValueError, match="already"):
        other.open(7)
    with pytest.raises(ValueError, match="already"):
        other.fork(3, 7)
    for names in ([1, 1], [True], [1.5], [None]):
        with pytest.raises(ValueError, match="name"):
            other.push(names, u[: len(names)])
    with pytest.raises(KeyError, match="no stream"):
        other.reset([1, "unknown"])
    np.testing.assert_array_equal(other.output(1), pool.output(1))  # nothing was reset


def test_choices_that_do_not_exist_are_named():
    subject = subjects.subject("mixer s4d")
    for options in ({"backend": "fast"}, {"dtype": "float16"}, {"device": "tpu"}, {"sample_rate": 0.0}):
        with pytest.raises(ValueError, match=f"`?{next(iter(options))}"):
            Stream(subject.what, **options)
    with pytest.raises(TypeError, match="got int"):
        Stream(3)
    with pytest.raises(ValueError, match="no notion of the sampling step"):
        Stream(subjects.subject("mixer gru").what, sample_rate=2.0)
    with pytest.raises(ValueError, match="no classes"):
        Stream(subject.what).predict_proba()
    engine = Stream(subject.what).engine
    for options in ({"backend": "torch"}, {"dtype": "float64"}, {"n_channels": 3}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
            Stream(engine, **options)
    with pytest.raises(ValueError, match="`n_channels`"):
        Stream(subject.what, n_channels=2)


class OneWay(S4D):
    """A layer that looks at the future has no online form."""

    def initial_state(self, batch_size=1):
        raise ValueError("OneWay looks at both sides of a sample, so it cannot stream; train a causal layer")


def test_a_layer_without_an_online_form_says_so():
    with pytest.raises(ValueError, match="cannot stream"):
        Stream(OneWay(2, order=4))


def test_answers_are_labels_of_their_own_type():
    stream = opened(subjects.subject("model s4d"), "float32")
    shares = stream.push(np.zeros(2))
    assert stream.predict() == subjects.LABELS[int(shares.argmax())]
    np.testing.assert_array_equal(stream.predict_proba(), shares)
    assert abs(shares.sum() - 1) < 1e-6
    values = opened(subjects.subject("values"), "float32")
    assert values.push(np.zeros(2)).shape == values.predict().shape == (2,)
    if not NEED_SKTIME:
        fitted = opened(subjects.subject("LSSLClassifier"), "float32")
        fitted.push(np.zeros(2))
        assert fitted.predict() in (3, 7)
        assert fitted.classes.tolist() == [3, 7]


def test_times_are_seconds_dates_or_durations():
    subject = subjects.subject("model s4d")
    u = signal(subject, 3, 0)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    kinds = [
        [0.0, 0.25, 1.0],
        [np.float32(0), np.float64(0.25), 1],
        np.array([0, 250, 1000], dtype="timedelta64[ms]"),
        np.datetime64("2026-01-01") + np.array([0, 250, 1000], dtype="timedelta64[ms]"),
        [start + timedelta(seconds=s) for s in (0, 0.25, 1)],
        [timedelta(seconds=s) for s in (1, 1.25, 2)],
    ]
    found = []
    for times in kinds:
        stream = opened(subject, "float64")
        stream.push(u[:2], times[:2])
        found.append(stream.push(u[2], times[2]))
    np.testing.assert_allclose(found, [found[0]] * len(found), rtol=1e-6)  # seconds since 1970 are a little coarse
