"""Docstrings as griffe reads them: one `Example:` is code as several `Examples:` are."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExamplesAreCode(griffe.Extension):
    """Names the section of examples as griffe knows it; under another name it would be prose."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Renames the section of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
