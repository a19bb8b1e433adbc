"""Entry of the `seqkit` command: the commands, and plain words when something fails."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from seqkit.cli import (
    bench,
    compare,
    data,
    distill,
    doctor,
    evaluate,
    export,
    hippo,
    models,
    predict,
    search,
    serve,
    stream,
    train,
    tune,
)
from seqkit.cli.importing import again, plain_warnings
from seqkit.cli.stopping import INTERRUPTED
from seqkit.version import __version__

__all__ = ["app", "main"]

USER_MISTAKE, FAILURE = 2, 1
_MISPLACED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

app = typer.Typer(
    name="seqkit",
    help="Train, evaluate and use sequence models: HiPPO memory and linear state-space layers.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("distill")(distill.distill)
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("export")(export.export)
app.command("stream")(stream.stream)
app.command("serve")(serve.serve)
app.command("models")(models.models)
app.add_typer(data.app, name="data")
app.add_typer(hippo.app, name="hippo")
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seqkit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere.")] = False,
) -> None:
    """Train, evaluate and use sequence models: HiPPO memory and linear state-space layers."""


def main() -> None:
    """Runs the command line; a user's mistake ends with one sentence and status 2, without a traceback."""
    # Spinning threads ruin a run on a busy machine, and this only works before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        with plain_warnings():
            app(arguments, prog_name="seqkit")
    except KeyboardInterrupt:  # before or after the command itself, which sees to its own
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    """Says what went wrong in one sentence and returns the exit status."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:  # the system's, not in our words
        place = error.filename2 or error.filename
        read_only = error.errno == errno.EROFS
        words = f"{error.strerror}; name a place that can be written" if read_only else error.strerror
        _say(f"{place}: {words}" if place else words)
        return USER_MISTAKE if read_only or isinstance(error, _MISPLACED) else FAILURE
    if isinstance(error, (ValueError, ImportError, *_MISPLACED)):
        _say(str(error))
        return USER_MISTAKE
    if isinstance(error, (OSError, FloatingPointError)):
        _say(str(error))
        return FAILURE
    whose = "of the imported code or of seqkit" if again() else "of seqkit"
    _say(f"{type(error).__name__}: {error}; this is a fault {whose}: run again with --debug and report what it shows")
    return FAILURE


def _say(words: str) -> None:
    typer.echo(f"seqkit: {words}", err=True)
