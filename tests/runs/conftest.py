import numpy as np
import pytest


def waves(n, rng, *, noise=0.3):
    """Series of unequal length whose class is their frequency."""
    values, labels = [], []
    for i in range(n):
        length, kind = int(rng.integers(20, 40)), i % 3
        t = np.arange(length)
        wave = np.sin(2 * np.pi * (0.04 + 0.06 * kind) * t + rng.uniform(0, 6))
        values.append(np.stack([wave, np.cos(wave)], 1) + noise * rng.standard_normal((length, 2)))
        labels.append("abc"[kind])
    return values, labels


def write_npz(path, values, targets):
    np.savez(
        path,
        values=np.concatenate(values).astype(np.float32),
        lengths=np.array([len(v) for v in values]),
        y=np.array(targets),
        sample_rate=np.array(10.0),
    )


@pytest.fixture(scope="session")
def waves_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("waves") / "waves.npz"
    write_npz(path, *waves(60, np.random.default_rng(0)))
    return path


SMALL = {"epochs": 2, "d_model": 8, "n_layers": 1, "order": 8, "device": "cpu"}


@pytest.fixture(scope="session")
def small_run(waves_file, tmp_path_factory):
    from seqkit.runs import train

    out = tmp_path_factory.mktemp("run") / "small"
    return train(str(waves_file), "s4d", out=out, progress=False, **SMALL)
