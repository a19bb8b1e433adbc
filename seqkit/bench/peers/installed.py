"""Other packages that compute the same things: which are installed, and which of those can be measured."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["NOT_INSTALLED", "PACKAGES", "Package", "refuse_missing", "words_for_packages"]

NOT_INSTALLED = "not installed"


class Package(NamedTuple):
    """A package by another party.

    Args:
        name: Its name for `import`.
        what: What of it would be measured against which operator.
        why_not: Why there is no measurement of it even where it is installed, or "".
    """

    name: str
    what: str
    why_not: str = ""


PACKAGES = (
    Package("accelerated_scan", "its first-order scan against ssm_scan with one real mode"),
    Package("flashfftconv", "its fused FFT convolution against long_conv"),
    Package("mamba_ssm", "its selective scan against ssm_scan"),
    Package("fla", "its linear attention", "none of its layers computes what an operator here does"),
    Package("keras_lmu", "its LMU cell against lti_memory", "it runs in TensorFlow, another process's runtime"),
)


def refuse_missing(name: str) -> str | None:
    """Refuses the form of a package that is not installed.

    Example:
        >>> refuse_missing("no_such_package")
        'not installed'
    """
    return None if find_spec(name) else NOT_INSTALLED


def words_for_packages(installed: dict[str, bool] | None = None) -> list[str]:
    """Says which packages are missing and which are there without being measured.

    Args:
        installed: Whether each package is installed; looked up if None.

    Example:
        >>> words_for_packages({package.name: package.name != "mamba_ssm" for package in PACKAGES})[0]
        'not installed: mamba_ssm'
    """
    found = installed or {package.name: find_spec(package.name) is not None for package in PACKAGES}
    missing = [package.name for package in PACKAGES if not found[package.name]]
    words = [f"{NOT_INSTALLED}: {', '.join(missing)}"] if missing else []
    silent = [package for package in PACKAGES if package.why_not and found[package.name]]
    return words + [f"{package.name} is not measured: {package.why_not}" for package in silent]
