"""Settings of a training: each value is checked where it enters."""

from dataclasses import asdict, fields

import pytest

from seqkit.tasks import TrainingConfig

WRONG = {
    "epochs": (0, 1.5, True),
    "learning_rate": (0.0, -1.0, float("inf"), "fast"),
    "ssm_learning_rate": (0.0,),
    "weight_decay": (-0.1, float("nan"), None),
    "warmup": (1.0, -0.1),
    "gradient_clip": (0.0,),
    "label_smoothing": (1.0,),
    "input_noise": (-0.1,),
    "patience": (0,),
    "checkpoint_steps": (0, 2.5),
    "keep": ("first",),
    "precision": ("64",),
    "device": ("gpu",),
}


def test_every_setting_is_checked():
    assert set(WRONG) == {field.name for field in fields(TrainingConfig)}
    for name, values in WRONG.items():
        for value in values:
            with pytest.raises(ValueError, match=f"`{name}` must"):
                TrainingConfig(**{name: value})


def test_values_are_plain():
    config = TrainingConfig(epochs=3, patience=2)
    assert TrainingConfig(**asdict(config)) == config
    assert all(isinstance(value, (int, float, str, type(None))) for value in asdict(config).values())
