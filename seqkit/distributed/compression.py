"""How the messages of a pipeline are compressed, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seqkit.checks import check_choice, check_keys, check_positive, check_positive_int

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
        max_error: Norm that the code of activations may lose of what it is given (c_Q of the theory, which asks for
            less than 0.7). A cut that measures more in an epoch sends one bit more from the next one on, up to 8. Left
            out, the bits stay as they are.

    Raises:
        ValueError: a value out of range; the sentence names it.

    Source:
        AC-SGD (arXiv:2206.01299). The released code rounds to nearest as well, with one step per channel.

    Example:
        >>> compression = Compression.parse("fw=2,bw=4,max_error=0.6")
        >>> compression.forward, compression.backward, compression.gradients, compression.max_error
        (2, 4, 32, 0.6)
    """

    forward: int = 4
    backward: int = 8
    gradients: int = 32
    group: int = 64
    rounding: str = "nearest"
    mode: str = "delta"
    store: str = "float32"
    max_error: float | None = None

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
        if self.max_error is not None:
            check_positive("max_error", self.max_error)
            if self.forward == _FULL:
                raise ValueError(
                    f"`max_error` must be left out where activations are sent as they are, got {self.max_error:g}; "
                    "give the bits to begin with, such as fw=2"
                )

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Reads "fw=4,bw=8", with dp, group, rounding, mode, store and max_error as further keys.

        A number of bits that is not given is 32: that kind of message is sent as it is.

        Raises:
            ValueError: a key or value that does not fit.
        """
        values: dict[str, Any] = {"forward": _FULL, "backward": _FULL}
        for part in text.split(","):
            key, equals, value = (word.strip() for word in part.partition("="))
            if not equals or not value:
                raise ValueError(f"`compress` must look like fw=4,bw=8, got {text!r}")
            check_keys("compress", [key], [*_SHORT, "group", "rounding", "mode", "store", "max_error"])
            values[_SHORT.get(key, key)] = _number(value, whole=key != "max_error")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in the order above."""
        return asdict(self)


def _number(text: str, *, whole: bool) -> int | float | str:
    """A number where the text is one; the text where it is none, to be refused by the rule of its key."""
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return text
