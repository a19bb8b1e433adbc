"""JapaneseVowels: nine speakers say /ae/; twelve cepstral coefficients a frame."""

from __future__ import annotations

from typing import Any

from seqkit.batch import DataInfo
from seqkit.datasets.bundled import Bundled

__all__ = ["JapaneseVowels"]

FRAMES_PER_SECOND = 156.25
"""The frames are 6.4 ms apart, says the donors' description of the set."""


class JapaneseVowels(Bundled):
    """640 utterances of nine men, who is speaking? It comes with sktime, so nothing is fetched.

    Source:
        Kudo, Toyama and Shimbo 1999, Multidimensional curve classification using passing-through regions.

    Example:
        >>> JapaneseVowels().info().classes
        ('1', '2', '3', '4', '5', '6', '7', '8', '9')
    """

    name = "japanese_vowels"
    folder = "JapaneseVowels"
    sample_rate = FRAMES_PER_SECOND

    def info(self) -> DataInfo:
        """What the set holds."""
        return DataInfo(
            name=self.name,
            task="classification",
            n_channels=12,
            classes=tuple("123456789"),
            sample_rate=self.sample_rate,
            max_length=29,
        )

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {
            "title": "Japanese Vowels: which of nine men is speaking",
            "task": "classification",
            "series": {"train": 270, "test": 370},
            "lengths": "7 to 29 samples",
            "licence": "CC BY 4.0",
            "citation": "Kudo, Toyama and Shimbo 1999, Multidimensional curve classification, PRL 20",
            "origin": "UCI Machine Learning Repository, Kudo, Toyama and Shimbo",
            "files": "come with the package sktime",
        }
