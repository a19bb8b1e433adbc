"""The live page: one file without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

__all__ = ["POLICY", "page"]


def page() -> str:
    """The page that draws a stream's signal and prediction.

    Example:
        >>> "<canvas" in page() and "https://" not in page()
        True
    """
    return files("seqkit.streaming.server").joinpath("page.html").read_text(encoding="utf-8")


def _policy(text: str) -> str:
    """What a browser may do for the page: its own script and style by their digests, and ask its own server."""
    digests = {
        tag: base64.b64encode(hashlib.sha256(found.group(1).encode()).digest()).decode()
        for tag in ("script", "style")
        if (found := re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
    }
    allowed = "; ".join(f"{tag}-src 'sha256-{digest}'" for tag, digest in digests.items())
    return f"default-src 'none'; {allowed}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"


POLICY = _policy(page())
"""The page's Content-Security-Policy."""
