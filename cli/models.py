"""`seqkit models`."""

from __future__ import annotations

import typer

from seqkit.cli.options import Import, Json
from seqkit.cli.show import as_json, table

__all__ = ["models"]


def models(
    import_: Import = None,
    json_: Json = False,
) -> None:
    """List the models by name, with their sizes and options."""
    from seqkit.models.config import PRESETS, ModelConfig, model_names

    configs = {name: ModelConfig.preset(name) for name in model_names()}
    if json_:
        as_json({name: {"summary": PRESETS[name].summary, **config.to_dict()} for name, config in configs.items()})
        return
    rows = [
        (
            name,
            PRESETS[name].summary,
            f"d_model={config.d_model} n_layers={config.n_layers}",
            " ".join(f"{key}={value}" for key, value in config.options.items()),
        )
        for name, config in configs.items()
    ]
    table("models", ["name", "what it is", "size", "options of its mixer"], rows)
    typer.echo("a training chooses dt_min, dt_max and the window of a memory from the data, unless they are given")
