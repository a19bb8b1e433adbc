"""A pipeline's training on disk: what each rank needs to go on as if it had never stopped."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from seqkit.distributed.pipeline import Pipeline
from seqkit.files import is_of_disk, write_whole

__all__ = ["has_checkpoint", "load_checkpoint", "save_checkpoint"]

_LATEST = "latest"


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a whole checkpoint lies in a folder.

    Example:
        >>> has_checkpoint("nowhere")
        False
    """
    return (Path(folder) / _LATEST).is_file()


def save_checkpoint(folder: str | Path, pipeline: Pipeline, state: dict[str, Any]) -> None:
    """Writes weights, message buffers, random states and what the caller adds, on all ranks together.

    The checkpoint counts when the file `latest` names it, which rank 0 writes after every rank has written its part; a
    training that is killed before goes on from the checkpoint before.

    Args:
        folder: Folder of checkpoints, the same for all ranks, on a disk that they share or each on its own.
        pipeline: The pipeline.
        state: Plain values and tensors of this rank, such as the optimiser's state.

    Raises:
        OSError: it cannot be written.
        PeerError: another rank failed.

    Example:
        >>> save_checkpoint("run", pipeline, {"optimizer": optimizer.state_dict()})  # doctest: +SKIP
    """
    folder, rank = Path(folder), pipeline.world.rank
    name = f"step-{pipeline.steps:08d}"
    with pipeline.world.watch.during("writing a checkpoint"):
        part = {
            "weights": [module.state_dict() for module in pipeline.modules],
            "ends": [end.state_dict() for end in pipeline.ends],
            "hooks": pipeline.hook_states(),
            "steps": pipeline.steps,
            "random": torch.get_rng_state(),
            "state": state,
        }
        for end in pipeline.ends:
            end.save(folder / name / f"rank{rank}")
        write_whole(folder / name / f"rank{rank}.pt", lambda path: torch.save(part, path))
        dist.barrier()
        if pipeline.world.local_rank == 0:
            write_whole(folder / _LATEST, lambda path: path.write_text(name, encoding="utf-8"))
        dist.barrier()
        if pipeline.world.local_rank == 0:
            for old in folder.glob("step-*"):
                if old.name != name:
                    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: str | Path, pipeline: Pipeline) -> dict[str, Any]:
    """Takes what `save_checkpoint` wrote; the training goes on bit for bit as the one that wrote it would have.

    Where a buffer is missing, or the two ends of a cut differ, both ends forget all samples, with a warning: their next
    visit sends them in full. Nothing is ever taken for zeros.

    Args:
        folder: As in `save_checkpoint`.
        pipeline: A pipeline of the same configuration and ranks.

    Returns:
        This rank's `state`.

    Raises:
        OSError: there is no checkpoint of this rank, or the system does not give it.
        ValueError: it is damaged or of another configuration.
        PeerError: another rank failed.

    Example:
        >>> optimizer.load_state_dict(load_checkpoint("run", pipeline)["optimizer"])  # doctest: +SKIP
    """
    folder, rank = Path(folder), pipeline.world.rank
    with pipeline.world.watch.during("reading a checkpoint"):
        if not has_checkpoint(folder):
            raise FileNotFoundError(f"{folder} holds no checkpoint; train from the start")
        place = folder / (folder / _LATEST).read_text(encoding="utf-8").strip()
        part = _read(place / f"rank{rank}.pt")
        _fits(part, pipeline, place)
        for module, weights in zip(pipeline.modules, part["weights"], strict=True):
            module.load_state_dict(weights)
        for end, kept in zip(pipeline.ends, part["ends"], strict=True):
            end.load_state_dict(kept)
        pipeline.load_hook_states(part["hooks"])
        pipeline.steps = part["steps"]
        torch.set_rng_state(part["random"])
        _load_buffers(pipeline, place / f"rank{rank}")
        return dict(part["state"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; start as many ranks as wrote the checkpoint, on the same machines")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file fails inside torch in about ten ways
        if isinstance(error, MemoryError) or is_of_disk(error):
            raise
        raise ValueError(f"{path} is damaged; delete the folder of checkpoints to train from the start") from error


def _fits(part: dict[str, Any], pipeline: Pipeline, place: Path) -> None:
    mine = [{(key, tuple(value.shape)) for key, value in module.state_dict().items()} for module in pipeline.modules]
    theirs = [{(key, tuple(value.shape)) for key, value in one.items()} for one in part["weights"]]
    if mine != theirs or len(part["ends"]) != len(pipeline.ends):
        raise ValueError(f"{place} is of another model or another number of ranks; resume with its own configuration")


def _load_buffers(pipeline: Pipeline, place: Path) -> None:
    """Buffers of both ends of each cut, or neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one sentence below for both ends
        mine = [(end.number, end.load(place)) for end in pipeline.ends]
    found: list[Any] = [None] * dist.get_world_size(pipeline.group)
    dist.all_gather_object(found, mine, group=pipeline.group)
    digests: dict[int, set[str]] = {}
    for number, digest in (one for ends in found for one in ends):
        digests.setdefault(number, set()).add(digest)
    for end in pipeline.ends:
        if len(digests[end.number]) > 1:
            warnings.warn(
                f"cut {end.number}: the buffers of the checkpoint are missing or differ, so both ends begin with empty "
                "ones and send each sample in full once more",
                stacklevel=3,
            )
            end.forget()
