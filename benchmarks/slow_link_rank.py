"""One rank of slow_link.py: text, models, and trainings whose speed or loss is measured.

    python benchmarks/slow_link_rank.py REQUEST

REQUEST is JSON: kind ("speed", "loss" or "grid"), backbone, methods, seed and sizes. Rank 0 prints one JSON row for
each method. Text is what the Python standard library says of itself, its documentation strings, byte by byte.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

import seqkit.models  # noqa: F401 - registers the mixers
from seqkit import tune_cpu
from seqkit.distributed import Compression, Pipeline, World, join, leave, make_mesh
from seqkit.nn import ResidualBlock, get_mixer

LETTERS = 128
BACKBONES = {"s4d": {"order": 16}, "attention": {"n_heads": 4}}


def text() -> bytes:
    """Documentation strings of the standard library's modules, in the order of their names."""
    strings = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                words = ast.get_docstring(node)
                if words:
                    strings.append(words)
    return "\n\n".join(strings).encode("ascii", errors="ignore")


def windows(length: int, first: int, count: int) -> tuple[Tensor, Tensor]:
    """`count` pieces of the text spread over all of it, each with the letters that follow."""
    letters = torch.frombuffer(bytearray(text()), dtype=torch.uint8).long()
    steps = (len(letters) - length - 1) // (first + count)
    pieces = torch.stack([letters[k * steps : k * steps + length + 1] for k in range(first, first + count)])
    return pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()


class Head(nn.Sequential):
    """Norm and scores of the next letter."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, LETTERS))


def stages(backbone: str, width: int, layers: int) -> list[nn.Module]:
    """Two stages: letters and the first half of the layers, the second half and the scores."""
    mixer = get_mixer(backbone)
    blocks = [ResidualBlock(mixer(width, **BACKBONES[backbone])) for _ in range(layers)]
    half = layers // 2
    return [nn.Sequential(nn.Embedding(LETTERS, width), *blocks[:half]), nn.Sequential(*blocks[half:], Head(width))]


def pretrained(request: dict[str, Any]) -> list[nn.Module]:
    """Stages that have seen other pieces of the text, the same for every method of a seed; kept in a file."""
    sizes = request["sizes"]
    torch.manual_seed(request["seed"])
    made = stages(request["backbone"], sizes["width"], sizes["layers"])
    if not sizes["pretrain_steps"]:
        return made
    name = "-".join(str(value) for value in (request["backbone"], request["seed"], *sizes.values()))
    path = Path(request["cache"]) / f"{name}.pt"
    whole = nn.Sequential(*made)
    if not path.is_file():
        x, y = windows(sizes["length"], 0, 4 * sizes["samples"])
        keep = torch.arange(len(x)) % 4 != 0  # every fourth piece is for the fine tuning
        x, y = x[keep], y[keep]
        optimizer = torch.optim.AdamW(whole.parameters(), lr=sizes["learning_rate"])
        for _ in range(sizes["pretrain_steps"]):
            ids = torch.randint(len(x), (sizes["batch"],))
            F.cross_entropy(whole(x[ids]).flatten(0, 1), y[ids].flatten()).backward()
            nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        torch.save(whole.state_dict(), part)
        part.replace(path)
    whole.load_state_dict(torch.load(path, weights_only=True))
    return made


class Training:
    """A pipeline of two stages on the pieces of text, with its optimiser."""

    def __init__(self, world: World, request: dict[str, Any], method: dict[str, Any]) -> None:
        sizes = request["sizes"]
        mesh = make_mesh(world, request.get("replicas", 1))
        self.replica, self.replicas, self.sizes = mesh.replica, mesh.n_replicas, sizes
        self.rows = sizes["batch"] // self.replicas
        width, length = sizes["width"], sizes["length"]
        compress = method["compress"]
        self.pipeline = Pipeline(
            pretrained(request),
            [(length,), (length, width), (length, LETTERS)],
            world,
            batch_size=self.rows,
            micro_batches=sizes["micro_batches"],
            schedule=method.get("schedule", "1f1b"),
            compression=None if compress is None else Compression.parse(compress),
            input_dtype=torch.int64,
            group=mesh.group,
            replicas=mesh.replicas,
            seed=request["seed"],
        )
        self.optimizer = torch.optim.AdamW(self.pipeline.parameters(), lr=sizes["learning_rate"])
        x, y = windows(length, 0, 4 * sizes["samples"])
        self.x, self.y = x[::4], y[::4]

    def step(self, ids: Tensor) -> float | None:
        """One step on pieces of the text."""
        y = self.y[ids]
        loss = self.pipeline.step(
            self.x[ids],
            loss=lambda out, rows: F.cross_entropy(out.flatten(0, 1), y[rows].flatten(), reduction="sum") / y.numel(),
            ids=ids,
        )
        self.pipeline.clip_gradients(1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def batches(self, random: torch.Generator) -> list[Tensor]:
        """An epoch's batches of this pipeline, each piece once."""
        own = torch.arange(self.replica, len(self.x), self.replicas)
        order = own[torch.randperm(len(own), generator=random)]
        return [order[k : k + self.rows] for k in range(0, len(order) - self.rows + 1, self.rows)]


def speed(world: World, request: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    """Median sequences per second of steps on pieces that were visited before, and the bytes of a step."""
    training, random = Training(world, request, method), torch.Generator().manual_seed(0)
    for batch in training.batches(random):
        training.step(batch)
    pipeline, seconds, sent = training.pipeline, [], []
    while len(seconds) < request["sizes"]["timed_steps"]:
        for batch in training.batches(random):
            dist.barrier()
            before, began = pipeline.bytes_sent, time.perf_counter()
            training.step(batch)
            dist.barrier()
            seconds.append(time.perf_counter() - began)
            sent.append(pipeline.bytes_sent - before)
    rate = request["sizes"]["batch"] / statistics.median(seconds)
    bytes_of_ranks: list[Any] = [None] * world.size
    dist.all_gather_object(bytes_of_ranks, statistics.median(sent))
    return {"sequences_per_second": rate, "steps": len(seconds), "bytes_per_step": bytes_of_ranks}


def loss(world: World, request: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    """Mean training loss of each epoch."""
    training = Training(world, request, method)
    random, means = torch.Generator().manual_seed(request["seed"]), []
    for _ in range(request["sizes"]["epochs"]):
        torch.manual_seed(request["seed"])
        found = [training.step(batch) for batch in training.batches(random)]
        means.append(sum(one for one in found if one is not None) / len(found))
    told: list[Any] = [None] * world.size
    dist.all_gather_object(told, means)
    errors = [end.sender.meter.relative_error for end in training.pipeline.ends if end.sender is not None]
    return {"losses": told[-1], "relative_error": errors[0] if errors else 0.0}


def main(words: str) -> None:
    request = json.loads(words)
    world = join(timeout=300.0)
    tune_cpu(threads=1)
    for method in request["methods"]:
        found = (loss if request["kind"] == "loss" else speed)(world, request, method)
        if world.rank == 0:
            row = {key: request[key] for key in ("kind", "backbone", "seed", "link") if key in request}
            if request["kind"] == "speed":
                row["width"] = request["sizes"]["width"]
            print(json.dumps({**row, "method": method["name"], **found}), flush=True)
    leave()


if __name__ == "__main__":
    main(sys.argv[1])
