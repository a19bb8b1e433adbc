"""How the messages of a pipeline are compressed, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seqkit.checks import check_choice, check_keys, check_positive_int

__all__ = ["Compression"]

_FULL = 32
_SHORT = {"fw": "forward", "bw": "backward", "dp": "gradients"}


@dataclass(frozen=True)
class Compression:
    """Bits of each kind of message of a pipeline, and how they are rounded.

    With `mode="delta"` an activation is sent as the quantised change since the same sample's last visit, and in full
    on the first; with `mode="direct"` it is quantised itself, at each visit. Gradients of activations are always
    quantised themselves.

    Args:
        forward: Bits of an activation's change, 1 to 8; 32 sends activations as they are, and nothing is kept.
        backward: Bits of the gradient of an activation, 1 to 8, or 32.
        gradients: Bits of the weights' gradients between replicas, 1 to 8, or 32; only with replicas.
        group: Neighbouring channels that share a step.
        rounding: Of forward messages: "nearest" shrinks the error of the buffers at each visit at any number of bits;
            "stochastic" is unbiased, and needs small groups at 2 bits. Gradients are rounded stochastically.
        mode: "delta", or "direct" for comparison.
        store: Numbers of the message buffers: "float32" or "bfloat16".

    Raises:
        ValueError: a value out of range; the sentence names it.

    Source:
        AC-SGD (arXiv:2206.01299). The released code rounds to nearest as well, with one step per channel.

    Example:
        >>> Compression.parse("fw=4,bw=8")
        Compression(forward=4, backward=8, gradients=32, group=64, rounding='nearest', mode='delta', store='float32')
    """

    forward: int = 4
    backward: int = 8
    gradients: int = 32
    group: int = 64
    rounding: str = "nearest"
    mode: str = "delta"
    store: str = "float32"

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        for name in ("forward", "backward", "gradients"):
            bits = getattr(self, name)
            if isinstance(bits, bool) or not isinstance(bits, int) or not (1 <= bits <= 8 or bits == _FULL):
                raise ValueError(f"`{name}` must be 1 to 8 bits, or 32 for none, got {bits!r}")
        check_positive_int("group", self.group)
        check_choice("rounding", self.rounding, ("nearest", "stochastic"))
        check_choice("mode", self.mode, ("delta", "direct"))
        check_choice("store", self.store, ("float32", "bfloat16"))

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Reads "fw=4,bw=8", with dp, group, rounding, mode and store as further keys.

        A number of bits that is not given is 32: that kind of message is sent as it is.

        Raises:
            ValueError: a key or value that does not fit.
        """
        values: dict[str, Any] = {"forward": _FULL, "backward": _FULL}
        for part in text.split(","):
            key, equals, value = (word.strip() for word in part.partition("="))
            if not equals or not value:
                raise ValueError(f"`compress` must look like fw=4,bw=8, got {text!r}")
            check_keys("compress", [key], [*_SHORT, "group", "rounding", "mode", "store"])
            values[_SHORT.get(key, key)] = int(value) if value.lstrip("-").isdigit() else value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in the order above."""
        return asdict(self)
