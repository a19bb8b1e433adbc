"""Letters at another speed than in training, and with samples missing, by models that are not told.

    SEQKIT_DATA=... python benchmarks/timescale.py                                   # hippo_legs, one seed: minutes
    SEQKIT_DATA=... python benchmarks/timescale.py --models hippo_legs lstm gru lssl --seeds 3 --out PAGE    # hours

Trained at 100 Hz and tested at 200 Hz, and the other way, as in the HiPPO paper (arXiv:2008.07669, section 4). Two
settings: the true lengths are given, or every series is padded to the longest by its last value and no length is given
(the paper's). With missing samples each series keeps a random part of them; its times, in training and test in units
that differ by 2 ("upsample": half the times in training; "downsample": twice), go to hippo_legs as timestamps and to
the others as a first channel, as in the paper.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import numpy as np
import torch
from torch.nn import functional as F

from seqkit.batch import DataInfo
from seqkit.datasets import SeriesDataModule, get_source
from seqkit.datasets.batching import loader
from seqkit.datasets.series import SeriesSet
from seqkit.models import ModelConfig, SequenceModel
from seqkit.runs.inference import measure, run_model
from seqkit.runs.steps import step_size_range
from seqkit.tasks import param_groups
from seqkit.tasks.task import warmup_cosine

MODELS: dict[str, dict[str, Any]] = {
    "hippo_legs": {"epochs": 40, "learning_rate": 0.004, "sizes": {}},
    "lstm": {"epochs": 20, "learning_rate": 0.004, "sizes": {"d_model": 128, "n_layers": 1}},
    "gru": {"epochs": 20, "learning_rate": 0.004, "sizes": {"d_model": 128, "n_layers": 1}},
    "lssl": {"epochs": 20, "learning_rate": 0.004, "sizes": {"d_model": 64, "n_layers": 2, "order": 64}},
}
DIRECTIONS = {"100 -> 200 Hz": (2, 1), "200 -> 100 Hz": (1, 2)}
SCALES = {"upsample": (0.5, 1.0), "downsample": (1.0, 0.5)}


def padded(series: SeriesSet, length: int) -> SeriesSet:
    """Each series to one length by its last value."""
    values = [np.concatenate([one, np.repeat(one[-1:], length - len(one), axis=0)]) for one in series.values]
    return replace(series, values=values)


def thinned(series: SeriesSet, share: float, scale: float, random: np.random.Generator) -> SeriesSet:
    """A random part of each series' samples in order, with their times."""
    keep = [np.sort(random.permutation(len(one))[: max(2, int(len(one) * share))]) for one in series.values]
    times = [scale * (places + 1) / 200 for places in keep]
    values = [one[places] for one, places in zip(series.values, keep, strict=True)]
    return replace(series, values=values, timestamps=times)


def with_time_as_channel(series: SeriesSet) -> SeriesSet:
    """Times as the first channel, in seconds, for models that step by samples."""
    columns = zip(series.timestamps or [], series.values, strict=True)
    values = [np.concatenate([times[:, None], one], axis=1) for times, one in columns]
    return replace(series, values=values, timestamps=None, channels=("time", *series.channels))


def train(name: str, series: SeriesSet, info: DataInfo, seed: int) -> SequenceModel:
    """A model on one set of series, by the toolkit's optimiser groups and schedule."""
    settings = MODELS[name]
    info = replace(info, n_channels=series.n_channels, channels=series.channels)
    sizes = dict(settings["sizes"])
    if name == "lssl":
        sizes["dt_min"], sizes["dt_max"] = step_size_range(float(np.median(series.lengths)))
    config = ModelConfig.preset(name, **sizes)
    model = SequenceModel.from_config(config, info, seed=seed)
    everything = np.concatenate(series.values)
    model.input_norm.set_statistics(torch.from_numpy(everything.mean(0)), torch.from_numpy(everything.std(0)))
    batches = loader(series, info, batch_size=32, seed=seed)
    groups = param_groups(model, learning_rate=settings["learning_rate"], weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups)
    total = settings["epochs"] * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, total, 0.1))
    torch.manual_seed(seed)
    for epoch in range(settings["epochs"]):
        batches.sampler.set_epoch(epoch)
        for batch in batches:
            scores = model(batch.values, batch.lengths, timestamps=batch.timestamps, observed=batch.observed)
            loss = F.cross_entropy(scores, batch.target, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: SequenceModel, series: SeriesSet) -> float:
    """Share of series whose letter is right, in percent; the model is not told their rate."""
    outputs = run_model(model, loader(series, model.info, batch_size=64))
    return 100 * measure(outputs, model.info)["accuracy"]


def cases(names: Iterable[str], seeds: int, quick: bool) -> Iterable[dict[str, Any]]:
    """What is to be run: all seeds for hippo_legs, fewer where the other models take minutes."""
    for name in names:
        own = name == "hippo_legs"
        for seed in range(seeds):
            for padding in ("lengths", "last value"):
                for direction in DIRECTIONS:
                    if own or padding == "lengths" or (seed == 0 and not quick):
                        yield {"table": "rate", "model": name, "seed": seed, "padding": padding, "case": direction}
                for kept in (0.7, 0.5, 0.3):
                    for scale in SCALES:
                        if own or (seed == 0 and padding == "lengths" and kept == 0.5):
                            yield {
                                "table": "missing",
                                "model": name,
                                "seed": seed,
                                "padding": padding,
                                "case": f"{scale}, {kept:.0%} kept",
                            }


def run(case: dict[str, Any], part: str) -> dict[str, Any]:
    """Trains one model and tests it on the series as they were in training and changed."""
    module = SeriesDataModule(get_source("character_trajectories"), validation=0.1, seed=case["seed"])
    module.setup()
    sets, info = module.sets, module.info
    given, held_out = sets["train"], sets[part]
    longest = int(max(one.lengths.max() for one in sets.values()))
    if case["table"] == "rate":
        k_train, k_test = DIRECTIONS[case["case"]]
        forms = [(given, k_train), (held_out, k_train), (held_out, k_test)]
        if case["padding"] == "last value":
            forms = [(padded(series, longest), k) for series, k in forms]
        # At either rate the set counts as its own: nothing says that there is another.
        ready = [replace(series.subsample(k), sample_rate=info.sample_rate) for series, k in forms]
    else:
        words, kept = case["case"].split(", ")
        share, random = float(kept.split("%")[0]) / 100, np.random.default_rng([case["seed"], 7])
        pair = [padded(one, longest) if case["padding"] == "last value" else one for one in (given, held_out)]
        train_scale, test_scale = SCALES[words]
        ready = [
            thinned(pair[0], share, train_scale, random),
            thinned(pair[1], share, train_scale, random),
            thinned(pair[1], share, test_scale, random),
        ]
        if case["model"] != "hippo_legs":
            ready = [with_time_as_channel(series) for series in ready]
    began = time.process_time()
    model = train(case["model"], ready[0], info, case["seed"])
    seconds = time.process_time() - began
    same, changed = (accuracy(model, series) for series in ready[1:])
    return {**case, "part": part, "same": same, "changed": changed, "seconds": seconds, "weights": model.n_parameters}


def spread(values: list[float]) -> str:
    """Mean over seeds, and their range where there are several."""
    if not values:
        return ""
    return f"{statistics.mean(values):.2f}" + (f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else "")


def rate_table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each model and padding."""
    columns = [
        (case, what, words) for case in DIRECTIONS for what, words in (("same", "as trained"), ("changed", "changed"))
    ]
    lines = [
        f"| model | padding | {' | '.join(f'{case}: {words}' for case, _, words in columns)} | s |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for model, padding in dict.fromkeys((row["model"], row["padding"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["padding"]) == (model, padding)]
        cells = [spread([row[what] for row in mine if row["case"] == case]) for case, what, _ in columns]
        seconds = statistics.mean(row["seconds"] for row in mine)
        lines.append(f"| {model} | {padding} | {' | '.join(cells)} | {seconds:.0f} |")
    return lines


def missing_table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each model, padding, change of the unit of time and share that was kept."""
    lines = ["| kept | test times | model | padding | as trained | changed |", "|---|---|---|---|---|---|"]
    for case in dict.fromkeys(row["case"] for row in rows):
        words, kept = case.split(", ")
        times = "doubled" if words == "upsample" else "halved"
        for model, padding in dict.fromkeys((row["model"], row["padding"]) for row in rows if row["case"] == case):
            mine = [row for row in rows if (row["case"], row["model"], row["padding"]) == (case, model, padding)]
            both = " | ".join(spread([row[what] for row in mine]) for what in ("same", "changed"))
            lines.append(f"| {kept.removesuffix(' kept')} | {times} | {model} | {padding} | {both} |")
    return lines


def processor() -> str:
    """Model of the CPU, where the system says it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(rows: list[dict[str, Any]]) -> str:
    """The page of results."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    seeds = sorted({row["seed"] for row in rows})
    weights = {row["model"]: row["weights"] for row in rows}
    sizes = [f"{name}: {MODELS[name]['epochs']} epochs, {count:,} weights" for name, count in weights.items()]
    lines = [
        "# Character trajectories at another speed, and with samples missing",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, one thread, Python {platform.python_version()}, {versions}.",
        f"`benchmarks/timescale.py`, part {rows[0]['part']}, seeds {', '.join(map(str, seeds))}: means (and",
        "range) of accuracy in percent, one seed where no range is given. A seed fixes split, weights, batches and",
        "missing samples. No model is told the rate. s: seconds of training, processor time. The settings of",
        "hippo_legs were chosen by cross-validation of the training parts.",
        "",
        f"Budgets: {'; '.join(sizes)}.",
        "",
        "## Trained at one rate, tested at another",
        "",
        *rate_table([row for row in rows if row["table"] == "rate"]),
        "",
        "## Trained and tested with samples missing, and times in another unit than in training",
        "",
        "hippo_legs is given the times as timestamps, the others as a first channel.",
        "",
        *missing_table([row for row in rows if row["table"] == "missing"]),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["hippo_legs"], choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--part", default="test", choices=["val", "test"], help="val to choose settings by")
    parser.add_argument("--quick", action="store_true", help="the other models with true lengths only")
    parser.add_argument("--keep", type=Path, default=None, help="JSON lines to add each result to, and to go on from")
    parser.add_argument("--report", action="store_true", help="write the page from what is kept; run nothing")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)

    known = (
        [json.loads(line) for line in args.keep.read_text().splitlines()] if args.keep and args.keep.exists() else []
    )
    rows = []
    for case in cases(args.models, args.seeds, args.quick):
        row = next((one for one in known if case.items() <= one.items() and one["part"] == args.part), None)
        if row is None and args.report:
            continue
        if row is None:
            row = run(case, args.part)
            print(json.dumps(row), flush=True)
            if args.keep:
                with args.keep.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
    text = report(rows)
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


if __name__ == "__main__":
    main()
