"""Every data set through the same life: facts, parts, cuts, batches, order, statistics, and reading a file again."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import pytest
import torch

from seqkit.batch import Batch
from seqkit.datasets import SeriesDataModule, SeriesSet, Source, encode_targets, get_source, source_names

TWINS = Path(__file__).parent.parent / "fake" / "twins.py"


def load_twins(name: str = "twins") -> Any:
    spec = importlib.util.spec_from_file_location(f"seqkit_contract_{name}", TWINS.with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


twins = load_twins()
sounds = load_twins("sounds")
recordings = load_twins("recordings")


class Case(NamedTuple):
    """A data set that is there: how to get it, a file of it to read again, and whether it is the real one."""

    name: str
    options: dict[str, Any]
    path: Path | None
    real: bool

    def source(self) -> Source:
        return get_source(self.name, **self.options)


BUNDLED = {
    "japanese_vowels": ("sktime", "JapaneseVowels"),
    "covid3month": ("sktime", "Covid3Month"),
    "tecator": ("sktime", "Tecator"),
    "digits": ("sklearn", "digits.csv.gz"),
}
# What the samples that are about hold.
ABOUT: dict[str, dict[str, Any]] = {
    "speech_commands": {"version": "0.01", "words": "all"},
    "bidmc_raw": {"target": "RESP", "split": "time"},
}
# Sets that are made from a seed: a few series of them are as real as many.
MADE: dict[str, dict[str, Any]] = {
    "adding": {"length": 30, "size": 40, "test_size": 11},
    "copying": {"length": 23, "tokens": 4, "size": 40, "test_size": 11},
    "delayed_recall": {"length": 50, "noise": 0.1, "size": 80, "test_size": 11},
    "pathfinder": {"size": 40, "test_size": 11},
    "burgers": {"length": 16, "size": 40, "test_size": 11},
    "darcy": {"side": 8, "size": 20, "test_size": 5},
}


def real(name: str, root: Path | None) -> Case:
    if name in MADE:
        return Case(name, MADE[name], None, real=True)
    if name in BUNDLED:
        package, place = BUNDLED[name]
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"needs {package}, which brings the data")
        return Case(name, {}, Path(spec.origin).parent / "datasets" / "data" / place, real=True)
    if root is None:
        pytest.skip("needs real data: set SEQKIT_DATA to the folder that holds it")
    case = Case(name, {"root": root, **ABOUT.get(name, {})}, root, real=True)
    try:
        case.source().prepare(offline=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if name == "character_trajectories":
        return case._replace(path=Path(str(case.source().describe()["files"])))
    return case


def fake_mnist(folder: Path, name: str) -> Case:
    twins.write_mnist(folder, name="FashionMNIST" if name == "fashion_mnist" else "MNIST")
    return Case(name, {"root": folder}, folder, real=False)


def fake_cifar(folder: Path, **options: Any) -> Case:
    twins.write_cifar(folder)
    return Case("cifar10", {"root": folder, **options}, folder, real=False)


def fake_dropped_letters(folder: Path, **options: Any) -> Case:
    twins.write_letters(folder)
    return Case("character_trajectories", {"root": folder, **options}, None, real=False)


def fake_letters(folder: Path, *, whole: bool) -> Case:
    path = twins.write_letters(folder, whole=whole)
    return Case("character_trajectories", {"root": folder}, path, real=False)


def fake_sounds(folder: Path, name: str, **options: Any) -> Case:
    if name == "spoken_digits":
        sounds.write_digits(folder)
    else:
        sounds.write_commands(folder, n_samples=900)
    return Case(name, {"root": folder, **options}, folder, real=False)


def fake_windows(folder: Path, **options: Any) -> Case:
    values, target, _ = recordings.windows()
    recordings.write_archive(folder, values, target)
    return Case("bidmc_hr", {"root": folder, **options}, folder, real=False)


def fake_recordings(folder: Path, **options: Any) -> Case:
    recordings.write_recordings(folder / "BIDMC", 8, seconds=24)
    return Case("bidmc_raw", {"root": folder, "window": 1, "stride": 2, **options}, folder, real=False)


def fake_csv(folder: Path) -> Case:
    values, labels = twins.waves(30)
    path = twins.write_long_csv(folder / "waves.csv", values, labels)
    return Case("folder", {"path": path}, path, real=False)


def fake_regression(folder: Path) -> Case:
    values, _ = twins.waves(30)
    path = twins.write_long_csv(folder / "waves.csv", values, [float(one.mean()) for one in values])
    return Case("folder", {"path": path}, path, real=False)


def fake_sequence(folder: Path) -> Case:
    values, _ = twins.waves(30)
    lengths = np.array([len(one) for one in values])
    rows = np.concatenate(values)
    np.savez(folder / "waves.npz", values=rows, lengths=lengths, y=rows.cumsum(axis=0), sample_rate=50.0)
    return Case("folder", {"path": folder / "waves.npz"}, folder / "waves.npz", real=False)


def fake_parts(folder: Path) -> Case:
    for part, n in (("TRAIN", 18), ("VAL", 6), ("TEST", 9)):
        twins.write_ts(folder / f"Waves_{part}.ts", *twins.waves(n, seed=n))
    return Case("folder", {"path": folder}, folder, real=False)


MAKERS: dict[str, Callable[[Path], Case]] = {
    "csv twin": fake_csv,
    "regression twin": fake_regression,
    "sequence twin": fake_sequence,
    "parts twin": fake_parts,
    "letters twin": lambda folder: fake_letters(folder, whole=True),
    "letters part twin": lambda folder: fake_letters(folder, whole=False),
    "mnist twin": lambda folder: fake_mnist(folder, "mnist"),
    "permuted_mnist twin": lambda folder: fake_mnist(folder, "permuted_mnist"),
    "fashion_mnist twin": lambda folder: fake_mnist(folder, "fashion_mnist"),
    "cifar10 twin": fake_cifar,
    "cifar10 colour twin": lambda folder: fake_cifar(folder, color=True),
    "letters removed twin": lambda folder: fake_dropped_letters(folder, drop=0.5),
    "letters time twin": lambda folder: fake_dropped_letters(folder, drop=0.5, timestamps="channel"),
    "spoken_digits twin": lambda folder: fake_sounds(folder, "spoken_digits"),
    "spoken_digits speakers twin": lambda folder: fake_sounds(folder, "spoken_digits", split="speaker"),
    "bidmc_hr twin": fake_windows,
    "bidmc_hr archive twin": lambda folder: fake_windows(folder, split="archive"),
    "bidmc_hr patient twin": lambda folder: fake_windows(folder, split="patient"),
    "bidmc_raw twin": fake_recordings,
    "bidmc_raw breathing twin": lambda folder: fake_recordings(folder, target="RESP", split="time"),
    "speech_commands twin": lambda folder: fake_sounds(folder, "speech_commands"),
}
REAL = [name for name in source_names() if name != "folder"]
# The real MNIST takes seconds to load; the permuted one differs from it in a way that its own test sees.
CASES = [*MAKERS, *(name for name in REAL if name != "permuted_mnist")]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param in MAKERS:
        return MAKERS[request.param](tmp_path_factory.mktemp("data"))
    folder = os.environ.get("SEQKIT_DATA")
    return real(request.param, Path(folder) if folder else None)


def build(case: Case, seed: int = 0, **options: Any) -> SeriesDataModule:
    module = SeriesDataModule(case.source(), **{"batch_size": 7, "seed": seed, "prepared": False, **options})
    module.prepare_data()
    module.setup()
    return module


@pytest.fixture(scope="module")
def loaded(case: Case) -> dict[str, SeriesSet]:
    return case.source().load()


@pytest.fixture(scope="module")
def module(case: Case) -> SeriesDataModule:
    return build(case)


def names(module: SeriesDataModule) -> dict[str, list[str]]:
    return {part: series.names for part, series in module.sets.items()}


def test_parts_have_their_sizes(loaded: dict[str, SeriesSet], module: SeriesDataModule) -> None:
    sizes = {part: len(series) for part, series in module.sets.items()}
    assert set(sizes) == {"train", "val", "test"}
    assert sum(sizes.values()) == sum(len(series) for series in loaded.values())
    rest = sum(sizes.values())
    if "all" in loaded:
        assert sizes["test"] == round(0.2 * rest)
    else:
        assert names(module)["test"] == loaded["test"].names
        assert loaded["test"].lengths.tolist() == module.sets["test"].lengths.tolist()
    if "val" in loaded:
        assert names(module)["val"] == loaded["val"].names
    else:
        assert sizes["val"] == round(0.2 * (rest - sizes["test"]))


def test_no_series_is_in_two_parts(loaded: dict[str, SeriesSet], module: SeriesDataModule) -> None:
    if "val" in loaded:
        pytest.skip("the parts are files of their own, each with its own names")
    every = [name for part in names(module).values() for name in part]
    assert len(every) == len(set(every))


def test_cuts_keep_the_classes(loaded: dict[str, SeriesSet], module: SeriesDataModule) -> None:
    if module.info.task != "classification" or "val" in loaded:
        pytest.skip("not cut by class")
    before = Counter(loaded["train" if "train" in loaded else "all"].target)
    share = {"train": 0.8, "val": 0.2} if "train" in loaded else {"train": 0.64, "val": 0.16, "test": 0.2}
    for part, expected in share.items():
        counts = Counter(module.sets[part].target)
        for label, n in before.items():
            assert abs(counts[label] - expected * n) < 2, (part, label)


def test_cuts_are_a_function_of_the_seed(case: Case, loaded: dict[str, SeriesSet], module: SeriesDataModule) -> None:
    if case.real and case.name == "mnist":
        pytest.skip("the small sets show it")
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002 - the global state must not matter
    assert names(build(case)) == names(module)
    if "val" not in loaded:
        assert names(build(case, seed=1))["train"] != names(module)["train"]


def test_facts_known_without_loading_hold(case: Case, module: SeriesDataModule) -> None:
    known, found = case.source().info(), module.info
    for what in ("name", "task", "n_channels", "classes", "n_targets", "sample_rate", "channels", "missing"):
        assert getattr(known, what) == getattr(found, what), what
    if case.real or case.name == "folder":
        assert known.max_length == found.max_length
    assert found.max_length == max(series.lengths.max() for series in module.sets.values())
    assert found.n_channels == module.sets["train"].n_channels


def test_batches_have_shapes_and_kinds(case: Case, module: SeriesDataModule) -> None:
    info = module.info
    for part, batches in (
        ("train", module.train_dataloader()),
        ("val", module.val_dataloader()),
        ("test", module.test_dataloader()),
    ):
        seen = 0
        for number, batch in enumerate(batches):
            assert isinstance(batch, Batch)
            n, longest, channels = batch.values.shape
            assert (batch.values.dtype, channels, longest) == (torch.float32, info.n_channels, int(batch.lengths.max()))
            assert (batch.lengths.dtype, batch.lengths.shape) == (torch.int64, (n,))
            assert batch.target is not None
            if info.task == "classification":
                assert (batch.target.dtype, batch.target.shape) == (torch.int64, (n,))
                assert 0 <= int(batch.target.min()) <= int(batch.target.max()) < len(info.classes)
            elif info.task == "regression":
                assert (batch.target.dtype, batch.target.shape) == (torch.float32, (n, info.n_targets))
            elif info.classes:
                assert (batch.target.dtype, batch.target.shape) == (torch.int64, (n, longest))
                assert 0 <= int(batch.target.min()) <= int(batch.target.max()) < len(info.classes)
            else:
                assert (batch.target.dtype, batch.target.shape) == (torch.float32, (n, longest, info.n_targets))
            seen += n
            if number == 40:
                break
        else:
            assert seen == len(module.sets[part])
            assert len(batches) == -(-seen // module.batch_size)


def test_batches_hold_the_series_and_zeros(module: SeriesDataModule) -> None:
    series = module.sets["test"]
    target = encode_targets(series, module.info)
    assert target is not None
    at = 0
    for number, batch in enumerate(module.test_dataloader()):
        for k, length in enumerate(batch.lengths.tolist()):
            assert length == len(series.values[at])
            assert np.array_equal(batch.values[k, :length].numpy(), np.nan_to_num(series.values[at], nan=0.0))
            assert not batch.values[k, length:].any()
            assert (batch.observed is not None) == series.has_missing
            if batch.observed is not None:
                assert np.array_equal(batch.observed[k, :length].numpy(), ~np.isnan(series.values[at]))
                assert not batch.observed[k, length:].any()
            assert batch.target is not None
            kept = batch.target[k, :length] if module.info.task == "sequence" else batch.target[k]
            assert torch.equal(kept, target[at])
            at += 1
        if number == 40:
            break


def test_labels_have_the_numbers_of_the_classes(module: SeriesDataModule) -> None:
    if module.info.task != "classification":
        pytest.skip("the target is not a class")
    batch = next(iter(module.val_dataloader()))
    assert batch.target is not None
    assert [module.info.classes[k] for k in batch.target.tolist()] == list(module.sets["val"].target or [])[
        : len(batch.target)
    ]
    numbers_first = sorted(module.info.classes, key=lambda c: (0, len(c), c) if c.isdecimal() else (1, 0, c))
    assert list(module.info.classes) in (numbers_first, list(module.source.classes))


def test_prediction_batches_have_no_target(module: SeriesDataModule) -> None:
    batch, plain = next(iter(module.predict_dataloader())), next(iter(module.test_dataloader()))
    assert batch.target is None
    assert torch.equal(batch.values, plain.values)


def epoch_order(module: SeriesDataModule, epoch: int) -> list[int]:
    batches = module.train_dataloader()
    batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [place for draw in batches.sampler for place in draw.places]


def test_training_order_is_a_function_of_seed_and_epoch(case: Case, module: SeriesDataModule) -> None:
    first = epoch_order(module, 0)
    assert sorted(first) == list(range(len(module.sets["train"])))
    torch.manual_seed(99)
    assert epoch_order(module, 0) == first
    assert epoch_order(module, 1) != first
    assert epoch_order(module, 1) == epoch_order(module, 1)
    other = SeriesDataModule(case.source(), batch_size=7, seed=5)
    other._loaded = module._loaded  # the same series, so that only the order differs
    assert epoch_order(other, 0) != first


def test_global_random_state_is_untouched(case: Case, module: SeriesDataModule) -> None:
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    if not (case.real and case.name == "mnist"):
        build(case)
    for batches in (module.train_dataloader(), module.val_dataloader()):
        next(iter(batches))
    assert torch.equal(before[0], torch.get_rng_state())
    assert pickle.dumps(np.random.get_state()) == before[1]  # noqa: NPY002


def test_statistics_are_those_of_the_training_samples(module: SeriesDataModule) -> None:
    mean, std = module.statistics()
    samples = np.concatenate(module.sets["train"].values).astype(np.float64)
    assert mean.shape == std.shape == (module.info.n_channels,)
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean, samples.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, samples.std(0), rtol=1e-5)
    if module.info.classes:
        with pytest.raises(ValueError, match="class, which has no mean"):
            module.target_statistics()
    else:
        target = module.sets["train"].target
        values = np.concatenate(list(target)) if isinstance(target, list) else np.asarray(target)
        mean, std = module.target_statistics()
        np.testing.assert_allclose(mean, values.astype(np.float64).mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(std, values.astype(np.float64).std(0), rtol=1e-5)


def test_a_file_of_the_set_reads_as_the_set(case: Case, loaded: dict[str, SeriesSet]) -> None:
    if case.real and case.name == "mnist":
        pytest.skip("the twin shows it")
    if case.path is None:
        pytest.skip("its options change the parts after reading, or it is made and has no files")
    source = case.source()
    whole = source.read(case.path)
    values = [one for series in loaded.values() for one in series.values]
    target = [one for series in loaded.values() for one in series.target] if case.name != "folder" else None
    assert len(whole) == len(values)
    if len(loaded) == 1 or case.name != "folder":
        assert all(np.array_equal(one, two) for one, two in zip(whole.values, values, strict=True))
    if target:
        assert len(whole.target) == len(target)
        assert all(np.array_equal(one, two) for one, two in zip(whole.target, target, strict=True))
    assert whole.sample_rate == next(iter(loaded.values())).sample_rate
    for part in ("train", "test"):
        if case.path.name == "trajectories_train.mat" and part == "train":
            assert len(source.read(case.path, part)) == len(values)  # the cell is named xtrain
        elif part in loaded:
            assert source.read(case.path, part).lengths.tolist() == loaded[part].lengths.tolist()
        else:
            with pytest.raises(ValueError, match="no part"):
                source.read(case.path, part)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        source.read(case.path / "nowhere")


class Sum(L.LightningModule):
    """The least that a Trainer can train; it notes the batches that it saw."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(channels, 1)
        self.seen: list[tuple[float, ...]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, *batch.lengths.tolist(), float(batch.values.sum())))
        return self.layer(batch.values).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert not self.training

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|logging interval).*")
def test_a_trainer_and_a_plain_loop_see_the_same(tmp_path: Path) -> None:
    case = fake_csv(tmp_path)
    module, task = SeriesDataModule(case.source(), batch_size=4), Sum(2)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, module)
    plain = []
    batches = build(case, batch_size=4).train_dataloader()
    for epoch in range(3):
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        plain += [(epoch, *batch.lengths.tolist(), float(batch.values.sum())) for batch in batches]
    assert task.seen == plain
    assert len(plain) == 3 * -(-19 // 4)


SCRIPT = """
from seqkit.datasets import SeriesDataModule, get_source
module = SeriesDataModule(get_source("folder", path={path!r}), batch_size=4, seed=3)
module.setup()
batches = module.train_dataloader()
batches.sampler.set_epoch(2)
print(module.sets["test"].names, module.sets["val"].names, [b.lengths.tolist() for b in batches])
"""


def test_another_process_cuts_and_orders_alike(tmp_path: Path, repository: Path) -> None:
    path = str(fake_csv(tmp_path).path)
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(path=path)],
        cwd=repository,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    module = SeriesDataModule(get_source("folder", path=path), batch_size=4, seed=3)
    module.setup()
    batches = module.train_dataloader()
    batches.sampler.set_epoch(2)  # type: ignore[attr-defined]
    here = f"{module.sets['test'].names} {module.sets['val'].names} {[b.lengths.tolist() for b in batches]}\n"
    assert there == here


def test_workers_make_the_same_batches(tmp_path: Path) -> None:
    case = fake_csv(tmp_path)
    here = [batch.values.sum().item() for batch in build(case).train_dataloader()]
    assert [batch.values.sum().item() for batch in build(case, num_workers=1).train_dataloader()] == here
