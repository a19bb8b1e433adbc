"""What a search may set: ranges and choices, as people write them, and the usual ones of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seqkit.models.config import PRESETS, model_options
from seqkit.runs.settings import parse_settings

__all__ = ["Choice", "Range", "Space", "check_space", "parse_space", "usual_space"]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed: whole ones where both ends are whole.

    A range over a factor of ten or more is searched by its logarithm.

    Args:
        low: Least value.
        high: Largest value.

    Raises:
        ValueError: ends that are no finite numbers, or not in order.

    Example:
        >>> Range(1e-4, 1e-2).by_logarithm, Range(1, 4).whole
        (True, True)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuses what is no range."""
        for end in (self.low, self.high):
            if isinstance(end, bool) or not isinstance(end, (int, float)) or not abs(end) < float("inf"):
                raise ValueError(f"a range needs finite numbers as ends, got {end!r}; write it as 1e-4..1e-2")
        if not self.low < self.high:
            raise ValueError(f"a range must rise, got {self.low}..{self.high}; put the lower end first")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def by_logarithm(self) -> bool:
        """Whether it is searched by the logarithm."""
        return self.low > 0 and self.high >= 10 * self.low

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Args:
        values: At least two different ones.

    Raises:
        ValueError: fewer.

    Example:
        >>> str(Choice((32, 64)))
        '32,64'
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Refuses what leaves nothing to choose."""
        if len(set(self.values)) < 2:
            raise ValueError(f"a choice needs at least two different values, got {', '.join(map(str, self.values))}")

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Space = Mapping[str, Range | Choice]


def parse_space(words: Iterable[str]) -> tuple[dict[str, Range | Choice], dict[str, Any]]:
    """Tells ranges and choices from fixed settings.

    Args:
        words: As typed: `learning_rate=1e-4..1e-2`, `d_model=32,64,128`, `epochs=10`.

    Returns:
        The space and the fixed settings.

    Raises:
        ValueError: a word without `=`, or a range or choice that is none.

    Example:
        >>> space, fixed = parse_space(["learning_rate=1e-4..1e-2", "norm=layer,rms", "epochs=10"])
        >>> {key: str(value) for key, value in space.items()}, fixed
        ({'learning_rate': '0.0001..0.01', 'norm': 'layer,rms'}, {'epochs': 10})
    """
    space: dict[str, Range | Choice] = {}
    fixed: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        ends = text.split("..")
        if sign and len(ends) == 2:
            low, high = (parse_settings([f"end={end}"])["end"] for end in ends)
            space[key.strip()] = Range(low, high)
        elif sign and "," in text and not text.lstrip().startswith(("[", "{", '"', "'")):
            space[key.strip()] = Choice(tuple(parse_settings([f"value={one}"])["value"] for one in text.split(",")))
        else:
            fixed.update(parse_settings([word]))
    return space, fixed


def usual_space(model: str) -> dict[str, Range | Choice]:
    """What is worth searching for a model: rates and regularisers, and sizes unless they are a paper's.

    Example:
        >>> sorted(usual_space("s4d"))
        ['d_model', 'dropout', 'learning_rate', 'n_layers', 'order', 'weight_decay']
        >>> sorted(usual_space("lssl_large"))
        ['dropout', 'learning_rate', 'weight_decay']
    """
    space: dict[str, Range | Choice] = {
        "learning_rate": Range(3e-4, 3e-2),
        "weight_decay": Range(1e-3, 0.3),
        "dropout": Range(0.0, 0.5),
    }
    preset = PRESETS[model]
    if not preset.has_size:
        space |= {"d_model": Choice((32, 64, 128)), "n_layers": Range(1, 4)}
        if isinstance(model_options(model).get("order"), int):
            space["order"] = Choice((16, 32, 64))
    return space


def check_space(space: Space, fixed: Mapping[str, Any]) -> None:
    """Refuses a space with nothing in it, or with what is fixed too.

    Raises:
        ValueError: one of these.
    """
    if not space:
        raise ValueError("`space` must hold at least one range or choice, got none; write learning_rate=1e-4..1e-2")
    both = sorted(set(space) & set(fixed))
    if both:
        raise ValueError(f"{both[0]!r} is both fixed and searched; leave one out")
    for reserved in ("seed", "keep"):
        if reserved in space:
            raise ValueError(f"{reserved!r} must be fixed in a search, got {space[reserved]}; give one value")
