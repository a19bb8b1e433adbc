"""A server of streams over HTTP and WebSocket: `seqkit serve`; needs the extra `serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqkit.checks import missing_extra
from seqkit.streaming.server.jobs import Answer, Job, Key
from seqkit.streaming.server.keeper import Keeper
from seqkit.streaming.server.limits import Clients, Limits
from seqkit.streaming.server.store import Entry, Store, StoreError
from seqkit.streaming.server.uniform import UniformEngine, exact_groups

if TYPE_CHECKING:
    from seqkit.streaming.server.app import create_app
    from seqkit.streaming.server.run import serve

__all__ = [
    "Answer",
    "Clients",
    "Entry",
    "Job",
    "Keeper",
    "Key",
    "Limits",
    "Store",
    "StoreError",
    "UniformEngine",
    "create_app",
    "exact_groups",
    "serve",
]


def __getattr__(name: str) -> Any:
    # What needs FastAPI is imported when it is asked for, so that keepers and stores serve without it.
    if name not in ("create_app", "serve"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from seqkit.streaming.server import app, run  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra(error.name or "fastapi", "serve", "The server of streams") from error
    return app.create_app if name == "create_app" else run.serve
