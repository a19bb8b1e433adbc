"""The classes that attention takes on while it is replaced, and how modules change between them and their own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from seqkit.attention.mixers.exact import Attention
from seqkit.attention.replacing.multihead import PaddedEncoder, ReplacedMultihead, multihead_refusal
from seqkit.attention.replacing.recipe import Attends

__all__ = ["ReplacedAttention", "all_attention", "find_attention", "give", "is_replaced", "matches"]


class ReplacedAttention(Attention):
    """The mixer `attention` that attends as its `recipe` says; `seqkit.attention.replace` makes it."""

    recipe: Attends

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        if self.window is not None and self.window < q.shape[1]:
            raise ValueError(
                f"`window` must be None or at least the length of the series for replaced attention, got {self.window} "
                f"for {q.shape[1]} samples; its memory has a bound already"
            )
        if self.training and self.attention_dropout:
            raise ValueError(
                "`attention_dropout` must be 0 to train through replaced attention, got "
                f"{self.attention_dropout}; set it, or call eval()"
            )
        groups = self.n_heads // self.n_kv_heads
        k, v = (x.repeat_interleave(groups, dim=2) for x in (k, v))
        return self.recipe.attend(q, k, v, causal=self.causal, lengths=lengths)

    def _refusal(self) -> str | None:
        return "its attention was replaced for whole series; call seqkit.attention.restore first"


SWAPS: dict[type[nn.Module], type[nn.Module]] = {
    nn.MultiheadAttention: ReplacedMultihead,
    Attention: ReplacedAttention,
    nn.TransformerEncoder: PaddedEncoder,
}
BACK = {new: old for old, new in SWAPS.items()}


def give(model: nn.Module, modules: Sequence[nn.Module], recipes: Sequence[Attends | None]) -> None:
    """Gives modules of a model their recipes, or with None their own class back; encoders around them follow."""
    for module, recipe in zip(modules, recipes, strict=True):
        kind = type(module)
        if recipe is None:
            module.__class__ = BACK.get(kind, kind)
            module.__dict__.pop("recipe", None)
        else:
            module.__class__ = SWAPS.get(kind, kind)
            module.recipe = recipe  # type: ignore[assignment]
    for encoder in model.modules():
        if type(encoder) in (nn.TransformerEncoder, PaddedEncoder):
            inside = any(isinstance(module, ReplacedMultihead) for module in encoder.modules())
            encoder.__class__ = PaddedEncoder if inside else nn.TransformerEncoder


def is_replaced(module: nn.Module) -> bool:
    """Whether a module attends by a recipe."""
    return type(module) in BACK


def find_attention(model: nn.Module, names: str | Sequence[str]) -> list[tuple[str, nn.Module]]:
    """Attention that can be replaced, by name.

    Raises:
        ValueError: there is none, or one that matches cannot be replaced.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"`model` must be a torch module, got {type(model).__name__}; of a fitted estimator give `model_`"
        )
    there = all_attention(model)
    if not there:
        raise ValueError(
            f"`model` must hold torch.nn.MultiheadAttention or the mixer `attention`, got {type(model).__name__} with "
            "neither; build it with one of them"
        )
    found = [(name, module) for name, module in there if matches(name, names)]
    if not found:
        raise ValueError(
            f"`names` must match a module with attention, got {names!r}; there are {', '.join(n for n, _ in there)}"
        )
    for name, module in found:
        why = multihead_refusal(module) if isinstance(module, nn.MultiheadAttention) else None
        if why is not None:
            raise ValueError(
                f"`model` must hold attention that can be replaced, got {name!r}: {why}; leave it out by `names`"
            )
    return found


def all_attention(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All attention of the known classes, but for that of torch's decoders across two series."""
    across = {layer.multihead_attn for layer in model.modules() if isinstance(layer, nn.TransformerDecoderLayer)}
    kinds = (nn.MultiheadAttention, ReplacedMultihead, Attention, ReplacedAttention)
    return [(name, one) for name, one in model.named_modules() if type(one) in kinds and one not in across]


def matches(name: str, names: str | Sequence[str]) -> bool:
    """Whether a module's name fits a pattern, or one of several."""
    return any(fnmatchcase(name, pattern) for pattern in ([names] if isinstance(names, str) else names))
