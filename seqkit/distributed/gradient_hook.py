"""Gradients between replicas in a few bits, with what coding loses added to the next step's: a hook for DDP."""

# Annotations stay objects here: DDP compares those of the hook with its own classes.

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqkit.distributed.codec import DeltaCodec
from seqkit.distributed.meter import WireMeter
from seqkit.distributed.padded import Padded

__all__ = ["EFGradHook", "code_with_feedback", "compress_gradients", "sum_of_rows"]


class EFGradHook:
    """Averages gradients over the replicas of `DistributedDataParallel` in `bits` bits, with error feedback.

        p = g + e,   e = p - Q(p),   mean = sum over ranks of Q(p) / ranks

    What a step loses comes with the next one, so that the error of the mean over steps falls as 1 / steps. Every rank
    adds the same messages in the same order: results are equal bit for bit. A gradient that is NaN or infinite arrives
    as NaN at every rank, a group of numbers wide, and is not remembered. Groups do not reach from one parameter into
    the next, so results do not depend on how DDP lays out its buckets.

    Args:
        bits: 1 to 8, 16 or 32 bits of a number.
        group: Numbers that share a step.
        process_group: The replicas; left out, all ranks.
        rounding: "nearest", or "stochastic" with `generator`.
        generator: Random numbers for stochastic rounding.

    Source: error feedback of Seide et al. 2014 and Karimireddy et al. 2019 (arXiv:1901.09847); in place of the 1-bit
        Adam that the code of AC-SGD has, see `QuantizedAdam`.

    Cost: a rank sends its coded gradient to each other one (an all-gather): (ranks - 1) bits / 8 bytes a number, where
        an all-reduce of float32 takes 8 (ranks - 1) / ranks. Beside the gradients one float32 number for each. Each
        parameter is filled up to a whole number of groups.

    Example:
        >>> hook = EFGradHook(bits=4)
        >>> hook.register(DistributedDataParallel(model))  # doctest: +SKIP
        >>> hook.meter.messages
        0
    """

    def __init__(
        self,
        bits: int = 8,
        group: int = 64,
        process_group: dist.ProcessGroup | None = None,
        *,
        rounding: str = "nearest",
        generator: torch.Generator | None = None,
    ) -> None:
        self.codec = DeltaCodec(bits, group, rounding, generator)
        self.process_group = process_group
        self.meter = WireMeter()
        self.names: dict[nn.Parameter, str] = {}
        self.errors: dict[nn.Parameter, Tensor] = {}
        self.buckets: dict[tuple[int, ...], Padded] = {}
        self.loaded: dict[str, Tensor] = {}

    def register(self, model: DistributedDataParallel) -> None:
        """Makes `model` average its gradients this way.

        Example:
            >>> EFGradHook().register(model)  # doctest: +SKIP
        """
        self.names = {parameter: name for name, parameter in model.module.named_parameters()}
        model.register_comm_hook(self, compress_gradients)

    def bucket(self, parameters: list[nn.Parameter]) -> Padded:
        """The layout of a bucket and what earlier steps lost of it; DDP lays its buckets out anew after a step.

        Example:
            >>> EFGradHook().bucket([nn.Parameter(torch.zeros(2))]).error.shape
            torch.Size([64])
        """
        key = tuple(id(parameter) for parameter in parameters)
        if key not in self.buckets:
            made = Padded(parameters, self.codec.group)
            for parameter, view in zip(parameters, made.views(made.error), strict=True):
                before = self.errors.get(parameter, self.loaded.pop(self.names.get(parameter, ""), None))
                if before is not None:
                    view.copy_(before)
                self.errors[parameter] = view
            gone = {id(parameter) for parameter in parameters}
            self.buckets = {old: kept for old, kept in self.buckets.items() if not gone.intersection(old)}
            self.buckets[key] = made
        return self.buckets[key]

    def state_dict(self) -> dict[str, Any]:
        """What this rank's next step needs: lost parts by name of parameter, and the generator's state.

        Example:
            >>> EFGradHook().state_dict()
            {'errors': {}, 'generator': None}
        """
        errors = {self.names[one]: error.cpu().clone() for one, error in self.errors.items()}
        generator = self.codec.generator
        return {"errors": {**self.loaded, **errors}, "generator": None if generator is None else generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state of the same rank.

        Raises:
            ValueError: the state has random numbers and this hook none, or the other way round.

        Example:
            >>> EFGradHook().load_state_dict(EFGradHook().state_dict())
        """
        if (state["generator"] is None) != (self.codec.generator is None):
            raise ValueError("`state` must be of a hook with the same rounding, got another; make the hook alike")
        if self.codec.generator is not None:
            self.codec.generator.set_state(state["generator"])
        self.errors, self.buckets, self.loaded = {}, {}, dict(state["errors"])


def compress_gradients(
    state: EFGradHook,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[torch.Tensor]:
    """The communication hook: codes a bucket, gathers every rank's bytes, returns the mean of what they say.

    Example:
        >>> model.register_comm_hook(EFGradHook(bits=4), compress_gradients)  # doctest: +SKIP
    """
    ranks, padded = dist.get_world_size(state.process_group), state.bucket(bucket.parameters())
    value = padded.gather(bucket.gradients())
    message = code_with_feedback(state.codec, value, padded.error, state.meter, padded.numbers)
    gathered = torch.empty(ranks * len(message), dtype=torch.uint8, device=message.device)
    work = dist.all_gather_into_tensor(gathered, message, group=state.process_group, async_op=True)
    assert work is not None

    def mean(_: torch.futures.Future[Any]) -> Tensor:
        total = sum_of_rows(state.codec, gathered.view(ranks, -1), len(value)).div_(ranks)
        padded.scatter(total, bucket.gradients())
        whole: Tensor = bucket.buffer()
        return whole

    future: torch.futures.Future[torch.Tensor] = work.get_future().then(mean)
    return future


def code_with_feedback(
    codec: DeltaCodec, value: Tensor, error: Tensor, meter: WireMeter, numbers: int | None = None
) -> Tensor:
    """Codes value + error as one row, sets `error` to what that loses, and returns the bytes.

    Args:
        codec: How.
        value: Numbers (n,), of any float type.
        error: What earlier steps lost, (n,), float32; changed in place.
        meter: Counts.
        numbers: How many of the numbers are no padding, for the meter; left out, all.

    Example:
        >>> error = torch.zeros(2)
        >>> len(code_with_feedback(DeltaCodec(2, 8, scale="absmax"), torch.tensor([1.0, 0.3]), error, WireMeter()))
        3
        >>> bool((error - torch.tensor([0.0, 0.3])).abs().max() < 0.01)
        True
    """
    wanted = (value.float() + error).unsqueeze(0)
    spoiled = None if bool(wanted.sum().isfinite()) else ~wanted.isfinite()
    coded = wanted if spoiled is None else torch.where(spoiled, 0, wanted)
    data = codec.encode_rows(coded)
    lost = coded - codec.decode_rows(data, len(value))
    error.copy_(lost.view(-1))
    if spoiled is not None and bool(spoiled.any()):
        data = with_nan(codec, data, spoiled, wanted)
    size = torch.linalg.vector_norm(coded, dim=1)
    meter.count(data.numel(), 1, len(value) if numbers is None else numbers, 0)
    meter.measure(size, size, torch.linalg.vector_norm(lost, dim=1))
    return data.view(-1)


def with_nan(codec: DeltaCodec, data: Tensor, spoiled: Tensor, wanted: Tensor) -> Tensor:
    """Bytes that decode to NaN wherever a number of the group is not finite."""
    if codec.bits > 8:
        return codec.encode_rows(torch.where(spoiled, torch.nan, wanted))
    padded = nn.functional.pad(spoiled, (0, -spoiled.shape[1] % codec.group))
    groups = padded.view(-1, codec.group).any(-1)
    data = data.clone()
    steps = data[:, : 2 * len(groups)].view(-1, 2)
    steps[groups] = torch.tensor([0xC0, 0x7F], dtype=torch.uint8, device=data.device)  # bfloat16's NaN, low byte first
    return data


def sum_of_rows(codec: DeltaCodec, data: Tensor, length: int) -> Tensor:
    """The sum of decoded rows (R, W), added in order, so that every rank gets the same bits.

    Example:
        >>> codec = DeltaCodec(4, 8, scale="absmax")
        >>> sum_of_rows(codec, codec.encode_rows(torch.full((3, 2), 7.0)), 2)
        tensor([21., 21.])
    """
    total = codec.decode_rows(data[:1], length)
    for row in range(1, len(data)):
        total = codec.decode_rows(data[row : row + 1], length, onto=total)
    return total.view(-1)
