"""The HTTP face of a server of streams."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seqkit.streaming.server.batcher import Batcher
from seqkit.streaming.server.guard import Guard, bearer
from seqkit.streaming.server.jobs import Answer, Job, RefusedError, checked_name, parsed_json, push_job
from seqkit.streaming.server.keeper import Keeper
from seqkit.streaming.server.limits import Clients
from seqkit.streaming.server.page import POLICY, page
from seqkit.streaming.server.session import Session
from seqkit.version import __version__

__all__ = ["create_app"]

SAFETENSORS = "application/octet-stream"


def create_app(
    keeper: Keeper, clients: Clients, *, window: float = 0.001, hosts: Sequence[str] | None = None
) -> FastAPI:
    """The application; `serve` runs it.

    Args:
        keeper: The streams; the application closes its store when it ends.
        clients: Who may ask, and how much.
        window: Seconds that a sample waits for others while the server is busy.
        hosts: Names under which it may be asked for; None for any. A server without tokens must name its own, or pages
            of other sites that a browser shows could reach it.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> from seqkit.streaming.server import Clients, Keeper, Limits, Store
        >>> engine = MixerEngine(S4D(1, order=4))
        >>> keeper = Keeper(engine, Store(":memory:", engine.fingerprint, 1.0))
        >>> create_app(keeper, Clients({}, Limits())).title
        'seqkit'
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = batcher = Batcher(keeper, clients.limits, window=window)
        await batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(
        title="seqkit",
        version=__version__,
        summary=f"Streams of {keeper.engine.kind}",
        lifespan=lifespan,
        docs_url=None,  # that page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.keeper, app.state.clients = keeper, clients
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _unrouted)
    _add_streams(app)
    _add_service(app)
    return app


def _add_streams(app: FastAPI) -> None:
    engine = app.state.keeper.engine

    @app.put("/v1/streams/{stream}", status_code=201)
    async def open_stream(stream: str, request: Request) -> Response:
        """Begins a stream; the first push does so too."""
        return await _one(request, Job("open", (_client(request), checked_name(stream))))

    @app.post("/v1/streams/{stream}/push")
    async def push(stream: str, request: Request) -> Response:
        """Takes `{"values": [..] or [[..], ..], "time": .., "count": ..}` and answers with the newest prediction."""
        client = _client(request)
        return await _one(request, push_job(client, parsed_json(await _body(request)), engine, name=stream))

    @app.post("/v1/push")
    async def push_many(request: Request) -> Response:
        """Takes `{"items": [{"stream": .., "values": ..}, ..]}`; status 207 where not all of them were taken."""
        client = _client(request)
        message = parsed_json(await _body(request))
        items = message.get("items") if isinstance(message, dict) else None
        if not isinstance(items, list) or not items:
            raise RefusedError(
                422, "this takes an object with `items`: a list of pushes, each with `stream` and `values`"
            )
        jobs: list[Job] = []
        answers: list[Answer | None] = []
        for item in items:
            try:
                jobs.append(push_job(client, item, engine))
                answers.append(None)
            except RefusedError as refusal:
                answers.append(refusal.answer())
        done = iter(await _work(request, client, jobs) if jobs else [])
        results = [next(done) if answer is None else answer for answer in answers]
        for one in results:
            request.app.state.batcher.metrics.answers[one.status] += 1
        good = all(one.status == 200 for one in results)
        listed = [{**one.body, "status": one.status} for one in results if isinstance(one.body, dict)]
        return JSONResponse({"results": listed}, 200 if good else 207)

    @app.get("/v1/streams/{stream}")
    async def predict(stream: str, request: Request) -> Response:
        """The newest prediction of a stream."""
        return await _one(request, Job("predict", (_client(request), checked_name(stream))))

    @app.delete("/v1/streams/{stream}")
    async def close(stream: str, request: Request) -> Response:
        """Forgets a stream."""
        return await _one(request, Job("close", (_client(request), checked_name(stream))))

    @app.get("/v1/streams/{stream}/snapshot")
    async def snapshot(stream: str, request: Request) -> Response:
        """The state of a stream as safetensors."""
        return await _one(request, Job("snapshot", (_client(request), checked_name(stream))))

    @app.put("/v1/streams/{stream}/snapshot")
    async def restore(stream: str, request: Request, replace: bool = False) -> Response:
        """Begins a stream from a snapshot; with `?replace=true` also in place of one."""
        key = (_client(request), checked_name(stream))
        return await _one(request, Job("restore", key, data=await _body(request), replace=replace))

    @app.websocket("/v1/ws")
    async def socket(websocket: WebSocket) -> None:
        await Session(websocket, app.state.batcher, app.state.clients).run()


def _add_service(app: FastAPI) -> None:
    @app.get("/v1/model")
    async def model(request: Request) -> dict[str, Any]:
        """What is streamed."""
        _client(request)
        engine = app.state.keeper.engine
        return {
            "model": engine.kind,
            "channels": engine.n_channels,
            "classes": None if engine.classes is None else engine.classes.tolist(),
            "sample_rate": engine.sample_rate,
            "times": engine.uses_rate,
            "missing": engine.takes_missing,
        }

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether the server takes samples."""
        ready = app.state.batcher.ready.is_set()
        return JSONResponse({"status": "ready" if ready else "starting"}, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Counts and times as Prometheus reads them."""
        _client(request)
        return Response(app.state.batcher.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def live() -> Response:
        return HTMLResponse(page(), headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def _client(request: Request) -> str:
    return str(request.app.state.clients.named(bearer(request.headers)))


async def _body(request: Request) -> bytes:
    """The body, refused as soon as it is too large."""
    most = request.app.state.clients.limits.body
    length = request.headers.get("content-length", "0")
    parts, size = [], int(length) if length.isdecimal() else 0
    if size <= most:
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > most:
                    break
                parts.append(part)
        except ClientDisconnect as error:  # nobody hears of it, and it is no fault of the server's
            raise RefusedError(400, "the connection ended before the request did; send all of it") from error
    if size > most:
        raise RefusedError(413, f"a request may have {most} bytes, got {size} or more; send several")
    return b"".join(parts)


async def _work(request: Request, client: str, jobs: list[Job]) -> list[Answer]:
    request.app.state.clients.spend(client, sum(job.samples for job in jobs))
    return await request.app.state.batcher.enter(jobs)  # type: ignore[no-any-return]  # the state of an app has no types


async def _one(request: Request, job: Job) -> Response:
    [answer] = await _work(request, job.key[0], [job])
    request.app.state.batcher.metrics.answers[answer.status] += 1
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, media_type=SAFETENSORS)
    return JSONResponse(answer.body, answer.status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # it is registered for these alone
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    request.app.state.batcher.metrics.answers[error.status] += 1
    return JSONResponse(error.answer().body, error.status, headers=headers)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # it is registered for these alone
    words = {
        404: "there is nothing at this address; see /openapi.json for what there is",
        405: f"{request.method} is not for this address; see /openapi.json for what is",
    }
    return JSONResponse({"error": words.get(error.status_code, error.detail)}, error.status_code, error.headers)
