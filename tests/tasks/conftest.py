"""A synthetic problem of each kind, in batches as anyone might build them, and a quiet trainer."""

import logging
import warnings

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from seqkit.batch import Batch, DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.models.config import model_options

INFOS = {
    "classification": DataInfo("toy", "classification", n_channels=1, classes=("up", "down")),
    "regression": DataInfo("toy", "regression", n_channels=1),
    "two values": DataInfo("toy", "regression", n_channels=1, n_targets=2),
    "sequence": DataInfo("toy", "sequence", n_channels=1),
    "tags": DataInfo("toy", "sequence", n_channels=1, classes=("below", "above")),
}


def problem(kind, n=48):
    """Series of different lengths with a target that a small model learns."""
    generator = torch.Generator().manual_seed(1)
    items = []
    for i in range(n):
        length = int(torch.randint(6, 16, (), generator=generator))
        slope = 0.5 * (-1) ** i * (1 + torch.rand((), generator=generator))
        series = slope * torch.arange(length) + 0.1 * torch.randn(length, generator=generator)
        series = series - series.mean()
        target = {
            "classification": torch.tensor(i % 2),
            "regression": 100 + 20 * slope,
            "two values": torch.stack([100 + 20 * slope, -slope]),
            "sequence": series[:, None] * 3 + 100,
            "tags": (series > 0).long(),
        }[kind]
        items.append((series[:, None], target))
    return items


def collate(items):
    """What a user's own collate_fn may look like."""
    values, targets = zip(*items, strict=True)
    lengths = torch.tensor([len(v) for v in values])
    ragged = targets[0].dim() > 0 and len(targets[0]) == len(values[0])
    pad = torch.nn.utils.rnn.pad_sequence
    target = pad(targets, batch_first=True, padding_value=-7) if ragged else torch.stack(targets)
    return Batch(pad(values, batch_first=True), target, lengths)


@pytest.fixture(scope="session")
def make_loader():
    def make_loader(kind="classification", n=48, batch_size=16):
        return DataLoader(problem(kind, n), batch_size=batch_size, collate_fn=collate, generator=torch.Generator())

    return make_loader


@pytest.fixture(scope="session")
def make_model():
    def make_model(kind="classification", name="s4d", **changes):
        small = {"order": 4, "dt_min": 0.05, "dt_max": 0.5, **({"window": 10.0} if name == "lmu" else {})}
        known = model_options(name)
        sizes = {key: value for key, value in small.items() if key in known}
        sizes = {"d_model": 8, "n_layers": 1, "dropout": 0.0, **sizes, **changes}
        model = SequenceModel.from_config(ModelConfig.preset(name, **sizes), INFOS[kind], seed=0)
        if not INFOS[kind].classes:
            targets = torch.cat([target.reshape(-1, INFOS[kind].n_targets) for _, target in problem(kind)])
            model.head.set_statistics(targets.mean(0), targets.std(0))
        return model

    return make_model


@pytest.fixture
def make_trainer(tmp_path):
    """A trainer that writes nothing of itself; its advice on workers and log intervals is not about this toolkit."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def make_trainer(**settings):
        return L.Trainer(
            **{
                "accelerator": "cpu",
                "max_epochs": 1,
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "default_root_dir": tmp_path,
                **settings,
            }
        )

    with warnings.catch_warnings():
        for advice in (".*does not have many workers.*", ".*but have no `val_dataloader`.*"):
            warnings.filterwarnings("ignore", message=advice, module="lightning.*")
        yield make_trainer
