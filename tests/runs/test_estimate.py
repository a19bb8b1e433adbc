"""What a dry run says a training would take."""

import torch

from seqkit.runs import RunConfig
from seqkit.runs.estimate import estimate


def config(path, **settings):
    sizes = {"epochs": 3, "n_layers": 2, "order": 8, "device": "cpu", "batch_size": 10, **settings}
    return RunConfig.build(path, "s4d", settings=sizes)


def test_steps_parts_and_words(waves_file):
    result = estimate(config(waves_file, d_model=8))
    assert result.n_series == {"train": 38, "val": 10, "test": 12}
    assert result.steps == 3 * 4
    assert result.data.endswith("38 train, 10 val, 12 test series of 20 to 39 samples; 2 channels; 3 classes; 10 Hz")
    assert result.seconds == result.steps * result.seconds_per_step > 0


def test_memory_holds_at_least_what_two_blocks_must_keep(waves_file):
    result = estimate(config(waves_file, d_model=64))
    longest = 39
    # Norm, mixer, activation and gate each keep their input, (B, L, D) float32, in each of two blocks.
    least = 2 * 4 * 10 * 30 * 64 * 4
    assert least / 2**20 < result.memory_mib < 40 * least * longest / 30 / 2**20
    assert estimate(config(waves_file, d_model=64, batch_size=20)).memory_mib > 1.5 * result.memory_mib


def test_global_generator_is_left_alone(waves_file):
    before = torch.get_rng_state()
    estimate(config(waves_file, d_model=8, dropout=0.5))
    assert torch.equal(torch.get_rng_state(), before)
