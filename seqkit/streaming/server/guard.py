"""Keeps out what a browser could be made to send by a page of another site."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Guard", "bearer"]


class Guard:
    """Refuses requests from pages of other sites, and under names that the server does not have.

    Without the first any page that is open in a browser could push to a server on the same machine; without the second
    it could do so after its own name was made to point there.

    Args:
        app: What is guarded.
        hosts: Names of the server; None for any.

    Example:
        >>> guard = Guard(lambda *_: None, hosts=["localhost"])
        >>> guard.fault(Headers({"host": "localhost:8000", "origin": "http://localhost:8000"})) is None
        True
        >>> guard.fault(Headers({"host": "localhost:8000", "origin": "http://elsewhere.test"}))
        'pages of another site may not ask this server; open its own page'
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None = None) -> None:
        self.app = app
        self.hosts = None if hosts is None else frozenset(hosts)

    def fault(self, headers: Headers) -> str | None:
        """Why a request with such headers is refused, or None."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and _name(f"//{host}") not in self.hosts:
            return "this server does not go by this name; ask for 127.0.0.1 or localhost, or start it with a token"
        if origin is not None and _place(origin) != host:
            return "pages of another site may not ask this server; open its own page"
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with 403."""
        fault = self.fault(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else None
        if fault is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": fault})
        else:
            body = json.dumps({"error": fault}).encode()
            kinds = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": kinds})
            await send({"type": "http.response.body", "body": body})


def bearer(headers: Headers) -> str | None:
    """The token of the header `Authorization: Bearer TOKEN`, or None.

    Example:
        >>> bearer(Headers({"authorization": "Bearer abc"}))
        'abc'
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _place(address: str) -> str | None:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
