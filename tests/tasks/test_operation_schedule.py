"""Operations in the task: a group of their own, frozen for a warm-up, and not trained at rate 0."""

import copy

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from seqkit.batch import Batch, DataInfo
from seqkit.models import ModelConfig, SequenceModel
from seqkit.structured.xd import operation_layers, operation_parameters, patch_convolutions, release_operations
from seqkit.tasks import OperationSchedule, SequenceTask, param_groups

INFO = DataInfo("toy", "classification", n_channels=1, classes=("a", "b"))


def network():
    sizes = {"d_model": 4, "n_layers": 1, "kernel_size": 3, "n_levels": 2, "dropout": 0.0}
    return SequenceModel.from_config(ModelConfig.preset("tcn", **sizes), INFO, seed=0)


def batches():
    torch.manual_seed(0)
    x = torch.randn(3, 8, 12, 1, dtype=torch.float64)
    return [Batch(one, (one[:, 1, 0] * one[:, 9, 0] > 0).long(), torch.full((8,), 12)) for one in x]


def fit(model, epochs, callbacks=(), **options):
    task = SequenceTask(model, learning_rate=0.01, **options)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="64-true",
    )
    trainer.fit(task, DataLoader(batches(), batch_size=None))
    return trainer


def searched(model):
    found = copy.deepcopy(model)
    patch_convolutions(found, torch.randn(1, 12, 1, dtype=next(model.parameters()).dtype))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning:lightning")
class TestTraining:
    """Whole trainings, two epochs of three batches each."""

    def test_rate_zero_and_warm_up_are_the_network(self):
        plain, x = network().double(), batches()[0].values
        still, frozen, trained = searched(plain), searched(plain), searched(plain)
        fit(plain, 2)
        fit(still, 2, [OperationSchedule()], operation_learning_rate=0.0)
        trainer = fit(frozen, 2, [OperationSchedule(warmup_epochs=2)])
        fit(trained, 2, [OperationSchedule(warmup_epochs=1)], operation_learning_rate=0.01)
        for other in (still, frozen):
            assert torch.allclose(other(x), plain(x), atol=1e-9)
        assert all(layer.is_convolution for layer in operation_layers(frozen).values())
        assert {group["name"] for group in trainer.optimizers[0].param_groups} == {"matrices", "vectors", "operations"}
        assert not torch.allclose(trained(x), plain(x), atol=1e-3)

    def test_a_model_without_operations_is_refused(self):
        with pytest.raises(ValueError, match="the model must hold operations for OperationSchedule"):
            fit(network(), 1, [OperationSchedule()])


def test_operations_have_their_own_rate_and_no_decay():
    model = searched(network())
    assert "operations" not in {group["name"] for group in param_groups(model, learning_rate=0.1)}  # frozen
    release_operations(model)
    groups = {group["name"]: group for group in param_groups(model, learning_rate=0.1, operation_learning_rate=0.02)}
    assert (groups["operations"]["lr"], groups["operations"]["weight_decay"]) == (0.02, 0.0)
    assert {id(one) for one in groups["operations"]["params"]} == {id(one) for one in operation_parameters(model)}
    count = sum(len(group["params"]) for group in groups.values())
    assert count == len(list(model.parameters()))
    with pytest.raises(ValueError, match="`operation_learning_rate` must be"):
        param_groups(model, learning_rate=0.1, operation_learning_rate=-1)
