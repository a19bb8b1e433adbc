"""Sizes and schedules of pipelines that fit each other."""

from __future__ import annotations

from seqkit.checks import check_choice

__all__ = ["SCHEDULES", "check_sizes"]

SCHEDULES = ("gpipe", "1f1b", "interleaved")


def check_sizes(schedule: str, batch_size: int, micro_batches: int, n_stages: int, n_ranks: int) -> None:
    """Refuses sizes that the schedule cannot run.

    Raises:
        ValueError: the sentence names the size.

    Example:
        >>> check_sizes("1f1b", batch_size=32, micro_batches=4, n_stages=2, n_ranks=2)
    """
    check_choice("schedule", schedule, SCHEDULES)
    if batch_size % micro_batches:
        raise ValueError(
            f"`micro_batches` must divide the batch size {batch_size}, got {micro_batches}; parts of a batch are of "
            "one size"
        )
    fits = n_stages == n_ranks if schedule != "interleaved" else n_stages % n_ranks == 0
    if not fits or n_stages < 2:
        several = "a multiple of the" if schedule == "interleaved" else "one for each of the"
        raise ValueError(f"`stages` must be {several} {n_ranks} ranks, got {n_stages} with {schedule}")
    if schedule != "gpipe" and micro_batches < n_stages:
        raise ValueError(
            f"`micro_batches` must be at least the number of stages {n_stages} with {schedule}, got {micro_batches}; "
            "take more of them or schedule gpipe"
        )
