"""Parts of Speech Commands: its own lists, and the random cut of the papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seqkit.datasets.stratified import stratified_cut
from seqkit.datasets.wav import wav_header

__all__ = ["by_lists", "by_paper"]

LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}


def by_lists(folder: Path, clips: Mapping[str, Sequence[Path]]) -> dict[str, list[Path]]:
    """Clips by part: those of the two lists, and all others to train on.

    The lists were made by a hash of the speaker, so no speaker is in two parts.

    Args:
        folder: Folder of the words, with validation_list.txt and testing_list.txt.
        clips: Clips of each word.

    Raises:
        FileNotFoundError: a list is missing.
        ValueError: a clip stands on both lists, a list is none, or a part has no clip.

    Example:
        >>> by_lists(Path("/nowhere"), {})
        Traceback (most recent call last):
        ...
        FileNotFoundError: /nowhere has no validation_list.txt, which says what is held out; fetch the whole set again
    """
    listed = {part: _listed(folder / name) for part, name in LISTS.items()}
    both = listed["val"] & listed["test"]
    if both:
        raise ValueError(f"{min(both)} stands on both lists of {folder}; fetch them again")
    parts: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for word, paths in clips.items():
        for path in paths:
            place = f"{word}/{path.name}"
            parts[next((part for part, names in listed.items() if place in names), "train")].append(path)
    return _filled(parts, folder)


def by_paper(folder: Path, clips: Mapping[str, Sequence[Path]], n_samples: int) -> dict[str, list[Path]]:
    """Clips of exactly `n_samples`, cut 70/15/15 by word with the published seeds.

    Args:
        folder: Folder of the words, to name in errors.
        clips: Clips of each word, in the order of the class numbers.
        n_samples: Length that clips must have.

    Raises:
        ValueError: a damaged clip, or too few of them to cut.

    Source:
        The released code of Gu et al. 2021 (arXiv:2110.13985): scikit-learn's train_test_split, 70 % with seed 0, then
        half of the rest with seed 1.

    Example:
        >>> by_paper(Path("/data"), {"yes": [], "no": []}, 16000)
        Traceback (most recent call last):
        ...
        ValueError: /data has 0 clips of 16000 samples, too few to cut into three parts by word
    """
    whole = [path for paths in clips.values() for path in paths if wav_header(path).n_samples == n_samples]
    numbers = {word: k for k, word in enumerate(clips)}
    labels = [numbers[path.parent.name] for path in whole]
    few = f"{folder} has {len(whole)} clips of {n_samples} samples, too few to cut into three parts by word"
    if len(set(labels)) < len(clips) or not whole:
        raise ValueError(few)
    try:
        train, rest = stratified_cut(labels, int(0.7 * len(whole)), seed=0)
        val, test = stratified_cut([labels[i] for i in rest], int(0.5 * len(rest)), seed=1)
    except ValueError as error:
        raise ValueError(f"{few} ({error})") from None
    places = {"train": train, "val": rest[val], "test": rest[test]}
    return {part: [whole[i] for i in chosen] for part, chosen in places.items()}


def _listed(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}, which says what is held out; fetch the whole set again"
        ) from None
    except UnicodeDecodeError:
        lines = [""]
    wrong = next((line for line in lines if line.count("/") != 1 or not line.endswith(".wav")), None)
    if wrong is not None or not lines:
        raise ValueError(f"{path} is damaged: it must name a clip in each line, such as yes/0ab3_nohash_0.wav")
    return set(lines)


def _filled(parts: dict[str, list[Path]], folder: Path) -> dict[str, list[Path]]:
    for part, paths in parts.items():
        if not paths:
            raise ValueError(f"{folder} has no clips of these words for the {part} part; fetch the whole set again")
    return parts
