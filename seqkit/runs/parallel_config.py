"""How a training is spread over processes, read from the words of the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seqkit.batch import DataInfo
from seqkit.checks import check_choice, check_keys, check_positive, check_positive_int
from seqkit.distributed import Compression
from seqkit.runs.config import RunConfig

__all__ = ["ParallelConfig"]

_WHOLE = ("pipeline", "ddp", "fsdp", "micro_batches")
_SCHEDULES = ("1f1b", "gpipe", "interleaved")
_WORDS = ("schedule", "buffers")


@dataclass(frozen=True)
class ParallelConfig:
    """Ranks of a training, and how they share it.

    Args:
        pipeline: Ranks that the layers are spread over; 1 for none.
        ddp: Copies that share each batch; with `pipeline`, that many pipelines side by side.
        fsdp: Processes that share each batch and of which each holds a part of the weights, gradients and optimiser;
            by itself, without compression.
        micro_batches: Parts of a batch that a pipeline works on at once.
        schedule: "1f1b", "gpipe", or "interleaved" for two stages on each rank.
        timeout: Seconds after which a rank that hears nothing from another gives up.
        buffers: Where a compressed pipeline keeps its message buffers: "memory", or "disk" for sets that are larger;
            then each batch's are read while the batch before is trained on.
        compress: Bits of messages, as "fw=4,bw=8"; see `seqkit.distributed.Compression`. None compresses nothing.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> ParallelConfig.parse("pipeline=2", "fw=4,bw=8").n_ranks
        2
    """

    pipeline: int = 1
    ddp: int = 1
    fsdp: int = 1
    micro_batches: int = 4
    schedule: str = "1f1b"
    timeout: float = 300.0
    buffers: str = "memory"
    compress: str | None = None

    def __post_init__(self) -> None:
        """Refuses values out of range and compression of what is not there."""
        for name in _WHOLE:
            check_positive_int(name, getattr(self, name))
        check_choice("schedule", self.schedule, _SCHEDULES)
        check_positive("timeout", self.timeout)
        check_choice("buffers", self.buffers, ("memory", "disk"))
        if self.n_ranks == 1:
            raise ValueError("`parallel` must ask for at least two ranks, got one; leave it out, or take pipeline=2")
        if self.fsdp > 1 and (self.pipeline > 1 or self.ddp > 1 or self.compress is not None):
            raise ValueError(
                f"`fsdp` must stand alone, got pipeline={self.pipeline}, ddp={self.ddp} and compress {self.compress!r} "
                "with it; leave them out"
            )
        wanted = Compression(32, 32) if self.compress is None else Compression.parse(self.compress)
        if self.buffers == "disk" and (wanted.forward == 32 or wanted.mode == "direct"):
            raise ValueError(
                f"`buffers` must be left out where there are none, got disk with compress {self.compress!r}; a "
                "pipeline with compress fw=BITS has them"
            )
        if self.compress is None:
            return
        if self.pipeline == 1:
            if wanted.forward < 32 or wanted.backward < 32 or wanted.gradients == 32:
                raise ValueError(
                    f"`compress` must be dp=BITS where there is no pipeline, got {self.compress!r}; fw and bw are the "
                    "messages between its stages"
                )
        elif wanted.gradients < 32 and self.ddp == 1:
            raise ValueError(
                f"`compress` must have no dp where there is one pipeline, got {self.compress!r}; dp is for gradients "
                "between copies, as with parallel pipeline=2,ddp=2"
            )

    @classmethod
    def parse(cls, text: str, compress: str | None = None) -> ParallelConfig:
        """Reads "pipeline=2,ddp=2,micro_batches=8".

        Raises:
            ValueError: an unknown key, or a value that does not fit.
        """
        values: dict[str, Any] = {}
        for part in text.split(","):
            key, equals, value = (word.strip() for word in part.partition("="))
            check_keys("parallel", [key], [*_WHOLE, *_WORDS, "timeout"])
            if not equals or not value:
                raise ValueError(f"`parallel` must look like pipeline=2, got {text!r}")
            if key in _WHOLE:
                values[key] = int(value) if value.isdigit() else value
            elif key == "timeout":
                try:
                    values[key] = float(value)
                except ValueError:
                    values[key] = value
            else:
                values[key] = value
        return cls(**values, compress=compress)

    @property
    def n_ranks(self) -> int:
        """Number of processes."""
        return self.pipeline * self.ddp * self.fsdp

    @property
    def n_stages(self) -> int:
        """Stages that the model is cut into."""
        return self.pipeline * (2 if self.schedule == "interleaved" else 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def check(self, config: RunConfig, info: DataInfo) -> None:
        """Refuses a run that cannot be spread this way, before any rank is started.

        Raises:
            ValueError: the sentence names the setting.
        """
        data, training = config.data, config.training
        for name in ("ddp", "fsdp"):
            if data.batch_size % getattr(self, name):
                raise ValueError(
                    f"`batch_size` must be a multiple of {name}={getattr(self, name)}, got {data.batch_size}; change "
                    "one of them"
                )
        if self.fsdp > 1 and training.precision == "16-mixed":
            raise ValueError("`precision` must be 32 or bf16-mixed with fsdp, got '16-mixed'; take one of those")
        if self.n_ranks > 1 and config.model.norm == "batch":
            raise ValueError(
                "`norm` must not be batch where processes share each batch, as its statistics would be those of a "
                "part; take layer or rms, or one process"
            )
        if self.pipeline == 1:
            return
        if training.precision != "32":
            raise ValueError(f"`precision` must be 32 in a pipeline, got {training.precision!r}; leave it out")
        if data.variation is not None:
            raise ValueError(
                "`vary_speed`, `vary_gain`, `vary_shift` and `vary_drop` must be 0 in a pipeline, whose series stay as "
                f"they are, got {data.vary_speed:g}, {data.vary_gain:g}, {data.vary_shift}, {data.vary_drop:g}; leave "
                "them out, or take ddp"
            )
        if config.model.mixer is None:
            raise ValueError(
                f"{config.model.name} has no layers to cut between; choose a model with a mixer, such as s4d"
            )
        if config.model.n_layers < self.n_stages:
            raise ValueError(
                f"`n_layers` must be at least the number of stages {self.n_stages}, got {config.model.n_layers}; take "
                "more layers or fewer ranks"
            )
        if (data.batch_size // self.ddp) % self.micro_batches:
            raise ValueError(
                f"`micro_batches` must divide the {data.batch_size // self.ddp} series of a pipeline's batch, got "
                f"{self.micro_batches}; change it or batch_size"
            )
        if self.schedule != "gpipe" and self.micro_batches < self.n_stages:
            raise ValueError(
                f"`micro_batches` must be at least the number of stages {self.n_stages} with {self.schedule}, got "
                f"{self.micro_batches}; take more of them or schedule=gpipe"
            )
