"""The WebSocket face: messages in, an answer to each in their order, and what happens in watched streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, TypeAlias

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from seqkit.streaming.server.batcher import Batcher
from seqkit.streaming.server.guard import bearer
from seqkit.streaming.server.jobs import Answer, Job, Key, RefusedError, checked_name, parsed_json, push_job
from seqkit.streaming.server.limits import Clients

__all__ = ["Session"]

OPERATIONS = ("push", "predict", "open", "close", "watch", "unwatch")
SECONDS_FOR_TOKEN = 10.0
MOST_WATCHED = 16
POLICY_VIOLATION = 1008

MOST_AT_ONCE = 1024

Pending: TypeAlias = tuple["asyncio.Future[list[Answer]] | Answer", Any]
"""An answer, or the promise of one, and the message's own `id`."""

_encoded = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # json.dumps would make one each time


class Session:
    """One connection.

    A message is an object with `op` and what the operation takes, and may carry an `id`, which its answer repeats; or
    a list of such objects, which is answered by a list. Messages are worked on before earlier ones are answered, as
    many as `limits.pipeline`; then the connection is not read, so that a sender who is too fast has to wait.

    Args:
        socket: The connection.
        batcher: Does the jobs.
        clients: Who may ask.

    Example:
        >>> "watch" in OPERATIONS
        True
    """

    def __init__(self, socket: WebSocket, batcher: Batcher, clients: Clients) -> None:
        self._socket, self._batcher, self._clients = socket, batcher, clients
        self._client = ""
        self._pending: asyncio.Queue[Pending | list[Pending]] = asyncio.Queue(clients.limits.pipeline)
        self._sending = asyncio.Lock()
        self._watched: dict[Key, tuple[asyncio.Queue[dict[str, Any]], asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Serves the connection to its end."""
        await self._socket.accept()
        if not await self._admitted():
            return
        writer = asyncio.create_task(self._answer())
        try:
            while True:
                await self._take(await self._text())
        except (WebSocketDisconnect, RuntimeError):  # Starlette raises the second once the connection is gone
            pass
        finally:
            writer.cancel()
            for key in list(self._watched):
                self._unwatch(key)
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _text(self) -> str | bytes:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        return message.get("text") or message.get("bytes") or ""

    async def _admitted(self) -> bool:
        """Whether the client is known, by the header or, as browsers cannot set it, by a first message."""
        token = bearer(self._socket.headers)
        try:
            if self._clients and token is None:
                text = await asyncio.wait_for(self._text(), SECONDS_FOR_TOKEN)
                message = parsed_json(text)
                token = message.get("token") if isinstance(message, dict) else None
                self._client = self._clients.named(token if isinstance(token, str) else None)
                await self._send({"op": "hello", "status": 200})
            else:
                self._client = self._clients.named(token)
        except (WebSocketDisconnect, RuntimeError):
            return False
        except (RefusedError, TimeoutError) as error:
            words = str(error) or 'say who you are within 10 s: {"op": "hello", "token": "..."}'
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._send({"status": 401, "error": words})
                await self._socket.close(POLICY_VIOLATION, "no valid token")
            return False
        return True

    async def _take(self, text: str | bytes) -> None:
        try:
            message = parsed_json(text)
            if not isinstance(message, list):
                await self._pending.put(await self._taken(message))
                return
            if not 0 < len(message) <= MOST_AT_ONCE:
                raise RefusedError(422, f"a list must hold 1 to {MOST_AT_ONCE} messages, got {len(message)}")
            await self._pending.put([await self._taken(one) for one in message])
        except RefusedError as refusal:
            await self._pending.put((refusal.answer(), None))

    async def _taken(self, message: Any) -> Pending:
        mark = message.get("id") if isinstance(message, dict) else None
        try:
            if not isinstance(message, dict) or message.get("op") not in (*OPERATIONS, "hello"):
                raise RefusedError(422, f"a message must be an object with `op`: {', '.join(OPERATIONS)}")
            return await self._begin(message), mark
        except RefusedError as refusal:
            return refusal.answer(), mark

    async def _begin(self, message: dict[str, Any]) -> asyncio.Future[list[Answer]] | Answer:
        op = message["op"]
        if op == "hello":  # also from a page that does not know whether a token is needed
            return Answer(200, {"op": "hello"})
        if op in ("watch", "unwatch"):
            key = (self._client, checked_name(message.get("stream")))
            return self._watch(key) if op == "watch" else self._unwatch(key)
        if op == "push":
            job = push_job(self._client, message, self._batcher.keeper.engine)
            self._clients.spend(self._client, job.samples)
        else:
            job = Job(op, (self._client, checked_name(message.get("stream"))))
        await self._batcher.room([job])
        return self._batcher.enter([job])

    async def _answer(self) -> None:
        """Sends answers in the order of their messages."""
        gone = False
        while True:
            pending = await self._pending.get()
            if isinstance(pending, list):
                message: Any = [await self._said(one) for one in pending]
            else:
                message = await self._said(pending)
            try:
                if not gone:
                    await self._send(message)
            except (WebSocketDisconnect, RuntimeError):
                gone = True  # what the connection still held is taken, though nobody hears of it

    async def _said(self, pending: Pending) -> dict[str, Any]:
        promised, mark = pending
        answer = promised if isinstance(promised, Answer) else (await promised)[0]
        self._batcher.metrics.answers[answer.status] += 1
        assert isinstance(answer.body, dict)  # snapshots are HTTP's
        marked = {} if mark is None else {"id": mark}
        return {**marked, **answer.body, "status": answer.status}

    async def _send(self, message: Any) -> None:
        async with self._sending:
            await self._socket.send_text(_encoded(message))

    def _watch(self, key: Key) -> Answer:
        if key not in self._watched:
            if len(self._watched) >= MOST_WATCHED:
                raise RefusedError(429, f"a connection may watch {MOST_WATCHED} streams; leave some with unwatch")
            queue = self._batcher.watch(key)
            self._watched[key] = (queue, asyncio.create_task(self._tell(queue)))
        return Answer(200, {"stream": key[1], "watched": True})

    def _unwatch(self, key: Key) -> Answer:
        if key in self._watched:
            queue, task = self._watched.pop(key)
            task.cancel()
            self._batcher.unwatch(key, queue)
        return Answer(200, {"stream": key[1], "watched": False})

    async def _tell(self, queue: asyncio.Queue[dict[str, Any]]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await self._send(await queue.get())
