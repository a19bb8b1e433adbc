"""What every attention mixer shares: heads, positions that know time, padding, and the online form."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from seqkit.attention.mixers.positions import rotary_frequencies, rotary_turns, rotate, turned_on
from seqkit.checks import check_choice, check_positive_int, check_shape, check_unit_interval
from seqkit.nn.mixer import Mixer, State, check_step_rate, mask_past_end

__all__ = ["POSITIONS", "AttentionMixer"]

POSITIONS = ("rotary", "learned", "none")
HEAD_SIZE = 32  # the default number of heads comes nearest to it


class AttentionMixer(Mixer):
    """Abstract attention of H heads: queries, keys and values by a linear map, and a linear map of what was read.

        q_i, k_i, v_i = W u_i,   q_i and k_i turned by the time of sample i,   y_i = O (what q_i reads of k and v)

    Which keys a query reads, and how, is what the classes on top of it say.

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads G of keys and values, which divide H; each serves H / G heads of queries. None for H.
        positions: "rotary" turns queries and keys by time in training steps: `rate` and `timestamps` count, only
            differences of time matter, and series may be of any length. "learned" adds a trained vector for each place
            to the input, up to `max_length`. "none" leaves order to causality.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        attention_dropout: Share of weights (or of what stands for them) set to zero in training, in [0, 1).
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: heads that do not divide, an unknown choice, a size below 1, a share outside [0, 1), or rotary
            positions with heads of one channel.

    Source:
        Vaswani et al. 2017 (arXiv:1706.03762), section 3.2; Ainslie et al. 2023 (arXiv:2305.13245) for grouped heads;
        Su et al. 2021 (arXiv:2104.09864) for rotary positions. Differs: positions are times.

    Example:
        >>> from seqkit.attention import Attention
        >>> isinstance(Attention(8), AttentionMixer)
        True
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int | None = None,
        n_kv_heads: int | None = None,
        positions: str = "rotary",
        max_length: int = 1024,
        causal: bool = True,
        attention_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.d_model = check_positive_int("d_model", d_model)
        self.n_heads, self.n_kv_heads = _checked_heads(d_model, n_heads, n_kv_heads)
        self.head_size = d_model // self.n_heads
        self.positions = check_choice("positions", positions, POSITIONS)
        self.max_length = check_positive_int("max_length", max_length)
        self.causal, bias = (_checked_choice(*choice) for choice in (("causal", causal), ("bias", bias)))
        self.attention_dropout = check_unit_interval("attention_dropout", attention_dropout)
        self.uses_rate = positions == "rotary"
        if positions == "rotary" and self.head_size < 2:
            raise ValueError(
                f"`n_heads` must leave at least 2 channels a head for rotary positions, got {self.n_heads} of "
                f"{d_model}; take fewer heads or positions='none'"
            )
        self.place = nn.Parameter(0.02 * torch.randn(max_length, d_model)) if positions == "learned" else None
        self.project = nn.Linear(d_model, (self.n_heads + 2 * self.n_kv_heads) * self.head_size, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self, u: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, timestamps: Tensor | None = None
    ) -> Tensor:
        """Maps whole series (B, L, D); see `Mixer.forward`."""
        self.check_input(u, lengths, rate, timestamps)
        turns = None
        if self.positions == "rotary":
            frequencies = rotary_frequencies(self.head_size, u.device)
            turns = rotary_turns(u.shape[1], frequencies, rate=rate, timestamps=timestamps, lengths=lengths)
        q, k, v = self._heads(mask_past_end(u, lengths), turns)
        return self._joined(self._attend(q, k, v, lengths), u, lengths)

    def initial_state(self, batch_size: int = 1) -> State:
        """State before the first sample; see `Mixer.initial_state`.

        Raises:
            ValueError: the layer cannot stream.
        """
        self._check_streams()
        turns = self.out.weight.new_zeros(batch_size, max(1, self.head_size // 2), dtype=torch.float64)
        return self._state(turns, batch_size)

    def step(self, u_t: Tensor, state: State, *, rate: float | Tensor = 1.0) -> tuple[Tensor, State]:
        """Maps one sample (B, D); see `Mixer.step`.

        Raises:
            ValueError: the layer cannot stream, or a rate that it cannot use.
        """
        check_shape("u_t", u_t, ("B", self.d_model), f"d_model is {self.d_model}")
        self._check_streams()
        self.check_rate(rate)
        check_step_rate("rate", rate, len(u_t))
        turns = state[0]
        if self.positions == "rotary":
            turns = turned_on(turns, rate, rotary_frequencies(self.head_size, u_t.device))
        q, k, v = self._heads(u_t[:, None], turns[:, None] if self.positions == "rotary" else None)
        y, new = self._attend_step(q[:, 0], k[:, 0], v[:, 0], state)
        return self._joined(y[:, None], u_t[:, None], None)[:, 0], type(state)(*(turns, *new))

    def scan(
        self,
        u: Tensor,
        state: State,
        *,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Maps a block (B, L, D) that continues from `state`; see `Mixer.scan`.

        Raises:
            ValueError: the layer cannot stream, or as `forward`.
        """
        self.check_input(u, lengths, rate, timestamps)
        self._check_streams()
        turns, last = None, state[0]
        if self.positions == "rotary":
            frequencies = rotary_frequencies(self.head_size, u.device)
            turns = rotary_turns(
                u.shape[1], frequencies, rate=rate, timestamps=timestamps, lengths=lengths, before=last
            )
            ends = torch.full((len(u),), u.shape[1], device=u.device) if lengths is None else lengths.to(u.device)
            last = turns[torch.arange(len(u), device=u.device), ends - 1]
        q, k, v = self._heads(mask_past_end(u, lengths), turns)
        y, new = self._attend_block(q, k, v, state, lengths)
        return self._joined(y, u, lengths), type(state)(*(last, *new))

    @abstractmethod
    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        """What the queries of whole series read.

        Args:
            q: Queries, (B, L, H, D), turned by their positions.
            k: Keys, (B, L, G, D), turned likewise.
            v: Values, (B, L, G, D).
            lengths: Samples of each series, (B,); all three are finite past them, and what is returned there is
                dropped.

        Returns:
            (B, L, H, D).
        """

    @abstractmethod
    def _state(self, turns: Tensor, batch_size: int) -> State:
        """A NamedTuple before the first sample: `turns`, (B, F) float64, and then what `_attend_step` returns."""

    @abstractmethod
    def _attend_step(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        """What one query of each stream reads of the samples so far and its own.

        Args:
            q: (B, H, D).
            k: (B, G, D).
            v: (B, G, D).
            state: The whole state before.

        Returns:
            (B, H, D), and the fields of the state after, without the first.
        """

    @abstractmethod
    def _attend_block(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """As `_attend_step`, for a block (B, L, H, D), (B, L, G, D) twice, of `lengths` samples each."""

    def _refusal(self) -> str | None:
        """Why the layer cannot stream, and what to do, or None where it can."""
        if not self.causal:
            return "it reads samples of both sides; train it with causal=True"
        if self.positions == "learned":
            return f"its learned positions end after {self.max_length} samples; train it with positions='rotary'"
        return None

    def _check_streams(self) -> None:
        why = self._refusal()
        if why is not None:
            raise ValueError(f"{type(self).__name__} cannot stream, because {why}")

    def _heads(self, u: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, L, H, D), keys and values (B, L, G, D) of samples (B, L, d_model)."""
        x = u.to(self.out.weight.dtype)
        if self.place is not None:
            if u.shape[1] > self.max_length:
                raise ValueError(
                    f"`max_length` must be at least the length of a series, got {self.max_length} for {u.shape[1]} "
                    "samples; raise it or use positions='rotary'"
                )
            x = x + self.place[: u.shape[1]]
        both, v = (
            self.project(x)
            .unflatten(-1, (-1, self.head_size))
            .split([self.n_heads + self.n_kv_heads, self.n_kv_heads], 2)
        )
        q, k = (both if turns is None else rotate(both, turns)).split([self.n_heads, self.n_kv_heads], 2)
        return q, k, v

    def _joined(self, y: Tensor, u: Tensor, lengths: Tensor | None) -> Tensor:
        """Heads (B, L, H, D) to channels (B, L, d_model), in the dtype of the input, 0 past the ends."""
        joined: Tensor = self.out(y.flatten(2).to(self.out.weight.dtype))
        return mask_past_end(joined, lengths).to(u.dtype)

    def extra_repr(self) -> str:
        """Sizes and choices."""
        parts = [f"d_model={self.d_model}, n_heads={self.n_heads}", f"positions={self.positions!r}"]
        if self.n_kv_heads != self.n_heads:
            parts.insert(1, f"n_kv_heads={self.n_kv_heads}")
        return ", ".join([*parts, f"causal={self.causal}"])


def _checked_choice(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}")
    return value


def _checked_heads(d_model: int, n_heads: int | None, n_kv_heads: int | None) -> tuple[int, int]:
    if n_heads is None:
        divisors = [n for n in range(1, d_model + 1) if d_model % n == 0]
        n_heads = min(divisors, key=lambda n: abs(math.log(d_model / n / HEAD_SIZE)))
    elif d_model % check_positive_int("n_heads", n_heads):
        raise ValueError(f"`n_heads` must divide d_model, got {n_heads} for {d_model}; change one of them")
    if n_kv_heads is None:
        return n_heads, n_heads
    if n_heads % check_positive_int("n_kv_heads", n_kv_heads):
        raise ValueError(f"`n_kv_heads` must divide n_heads, got {n_kv_heads} for {n_heads}; change one of them")
    return n_heads, n_kv_heads
