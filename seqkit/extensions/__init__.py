"""Code of one's own and of installed packages that registers models, mixers, poolings, structures and data sets."""

from seqkit.extensions.code import import_code
from seqkit.extensions.origins import Origin, claim, origin_of
from seqkit.extensions.plugins import ExtensionWarning, Plugin, find_plugins, load_plugins, look_up
from seqkit.extensions.records import import_options, records_of, require

__all__ = [
    "ExtensionWarning",
    "Origin",
    "Plugin",
    "claim",
    "find_plugins",
    "import_code",
    "import_options",
    "load_plugins",
    "look_up",
    "origin_of",
    "records_of",
    "require",
]
