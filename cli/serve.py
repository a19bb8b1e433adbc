"""`seqkit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Dtype, Import, StreamDevice, Streamed, Trust
from seqkit.cli.show import note
from seqkit.cli.streamed import loaded

__all__ = ["serve"]


def serve(
    run: Streamed,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one that other machines reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 8000,
    store: Annotated[
        Path | None,
        typer.Option(help="SQLite file of the states; by default streams.db in the run's folder."),
    ] = None,
    durability: Annotated[
        str, typer.Option(help="What acknowledged samples outlive: process (kill -9) or power (slower).")
    ] = "process",
    token: Annotated[
        str | None, typer.Option(envvar="SEQKIT_TOKEN", show_envvar=True, help="Token of the one client.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a line `name:token` for each client; each has its own streams.")
    ] = None,
    resident: Annotated[int, typer.Option(help="Streams in memory; the others lie in the store.")] = 4096,
    streams: Annotated[int, typer.Option(help="Streams that a client may have.")] = 1_000_000,
    rate: Annotated[float | None, typer.Option(help="Samples per second that a client may send.")] = None,
    burst: Annotated[int, typer.Option(help="Samples that a client may send at once, with --rate.")] = 10_000,
    max_body: Annotated[int, typer.Option(help="Bytes of a request or message.")] = 1 << 20,
    queue: Annotated[int, typer.Option(help="Samples that may wait.")] = 10_000,
    store_every: Annotated[int, typer.Option(help="Samples of a stream after which its state is stored.")] = 64,
    sample_rate: Annotated[
        float | None, typer.Option(help="Samples per second (Hz) of each stream, where they come without times.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, fused or graph.")] = "auto",
    dtype: Dtype = None,
    device: StreamDevice = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of a step.")] = 1,
    import_: Import = None,
    trust: Trust = False,
) -> None:
    """Serve a trained model's streams over HTTP and WebSocket, with a live page; Ctrl-C stores all states."""
    from seqkit.streaming.server import Clients, Limits
    from seqkit.streaming.server import serve as run_server

    if token is not None and token_file is not None:
        raise ValueError("--token is for one client and --token-file for several; give one of them")
    tokens = Clients.read(token_file) if token_file is not None else {} if token is None else {"": token}
    beside = run.with_suffix(".db") if run.is_file() else run / "streams.db"
    run_server(
        loaded(run, trust),
        host=host,
        port=port,
        store=beside if store is None else store,
        durability=durability,
        tokens=tokens,
        limits=Limits(resident=resident, streams=streams, body=max_body, rate=rate, burst=burst, queue=queue),
        sample_rate=sample_rate,
        backend=backend,
        dtype=dtype,
        device=device,
        store_every=store_every,
        threads=threads,
        tell=note,
    )
