"""The package without Lightning: parameter groups and run folders work, the task names the extra."""

import subprocess
import sys

import pytest

import seqkit.tasks


@pytest.mark.parametrize("missing", ["lightning", "torchmetrics"])
def test_what_is_missing_is_named(missing):
    code = (
        "import sys\n"
        f"sys.modules['{missing}'] = None\n"
        "import seqkit.tasks\n"
        "from seqkit.tasks import RunFolder, TrainingConfig, param_groups\n"
        "try:\n"
        "    seqkit.tasks.SequenceTask\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"Training needs {missing}, which is not installed; run: pip install 'seqkit[train]'"


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'SequenceTaks'"):
        seqkit.tasks.SequenceTaks  # noqa: B018
