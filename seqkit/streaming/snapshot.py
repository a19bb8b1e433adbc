"""The state of a stream as named tensors, bytes or a file; nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seqkit.files import write_whole
from seqkit.streaming.engine import Array, Engine, Named

__all__ = [
    "FORMAT",
    "Progress",
    "from_bytes",
    "kept_beside",
    "pack",
    "pack_all",
    "read_snapshot",
    "to_bytes",
    "unpack",
    "unpack_all",
    "write_snapshot",
]

FORMAT = 1
"""Version of the layout; a reader refuses any other."""

_BESIDE = "beside/"

UNKNOWN, UNTIMED, TIMED = 0, 1, 2


@dataclass
class Progress:
    """How far a stream is, beside the engine's state.

    Args:
        count: Samples so far.
        time: Time of the last one in seconds; None where samples have none.
        timed: Whether its samples have a time; None before the first.
        output: The newest output; None before the first sample.

    Example:
        >>> Progress().count
        0
    """

    count: int = 0
    time: float | None = None
    timed: bool | None = None
    output: Array | None = None

    def advance(self, n: int, output: Array, time: float | None, *, timed: bool) -> None:
        """Counts n further samples."""
        self.count += n
        self.output = output
        self.time, self.timed = time, timed


def pack(engine: Engine, state: Named, progress: Progress) -> Named:
    """All that a stream is, as named tensors: a few KB, whatever it has seen.

    Example:
        >>> from seqkit import S4D
        >>> from seqkit.streaming import MixerEngine
        >>> engine = MixerEngine(S4D(2, order=4))
        >>> sorted(pack(engine, engine.read(engine.start(1), 0), Progress()))
        ['clock', 'count', 'fingerprint', 'format', 'state.x']
    """
    kind = UNKNOWN if progress.timed is None else TIMED if progress.timed else UNTIMED
    time = 0.0 if progress.time is None else progress.time
    tensors = {
        "format": torch.tensor([FORMAT]),
        "fingerprint": torch.frombuffer(bytearray.fromhex(engine.fingerprint), dtype=torch.uint8),
        "count": torch.tensor([progress.count]),
        "clock": torch.tensor([float(kind), time], dtype=torch.float64),
    }
    if progress.output is not None:
        tensors["output"] = torch.from_numpy(np.array(progress.output))
    return tensors | {f"state.{name}": tensor for name, tensor in state.items()}


def unpack(engine: Engine, tensors: Named) -> tuple[Named, Progress]:
    """The engine's state and the progress out of what `pack` made.

    Raises:
        ValueError: of another format or another model, or not whole.
    """
    _check_form(tensors)
    version = int(tensors["format"][0])
    if version != FORMAT:
        raise ValueError(f"the state has format {version}, this seqkit reads {FORMAT}; use the seqkit that wrote it")
    found = bytes(tensors["fingerprint"].tolist()).hex()
    if found != engine.fingerprint:
        raise ValueError(
            f"the state belongs to another model or dtype ({found[:8]}, not {engine.fingerprint[:8]}); load the model "
            "that it was made with, or begin a new stream"
        )
    fresh = engine.fresh()
    state = {name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")}
    for name, tensor in fresh.items():
        given = state.get(name)
        if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
            what = "nothing" if given is None else f"{tuple(given.shape)} of {given.dtype}"
            raise ValueError(
                f"`state.{name}` must be {tuple(tensor.shape)} of {tensor.dtype}, got {what}; it is damaged"
            )
    kind, time = tensors["clock"].tolist()
    timed = None if kind == UNKNOWN else kind == TIMED
    count = int(tensors["count"][0])
    if kind not in (UNKNOWN, UNTIMED, TIMED) or not math.isfinite(time) or count < 0:
        raise ValueError(f"the state tells of {count} samples and the clock {kind:g}, {time:g}; it is damaged")
    output = _output(engine, tensors["output"]) if "output" in tensors else None
    progress = Progress(count, time if timed else None, timed, output)
    return {name: state[name] for name in fresh}, progress


_FORM = {
    "format": (torch.int64, 1),
    "fingerprint": (torch.uint8, 16),
    "count": (torch.int64, 1),
    "clock": (torch.float64, 2),
}


def _check_form(tensors: Named) -> None:
    """Refuses what lacks the tensors that every state has, or has others under their names."""
    missing = [name for name in _FORM if name not in tensors]
    if missing:
        raise ValueError(
            f"this is not the state of a stream: it lacks {', '.join(missing)}; give what state_dict() made"
        )
    for name, tensor in tensors.items():
        dtype, length = _FORM.get(name, (None, 0))
        if not isinstance(tensor, Tensor):
            raise ValueError(f"`{name}` must be a tensor, got a {type(tensor).__name__}; give what state_dict() made")
        if dtype is not None and (tensor.dtype != dtype or tensor.shape != (length,)):
            what = f"{tuple(tensor.shape)} of {tensor.dtype}"
            raise ValueError(f"`{name}` must be ({length},) of {dtype}, got {what}; it is damaged")


def _output(engine: Engine, tensor: Tensor) -> Array:
    """The newest output."""
    if tensor.shape != engine.output_shape or tensor.dtype not in (torch.float32, torch.float64):
        what = f"{tuple(tensor.shape)} of {tensor.dtype}"
        raise ValueError(f"`output` must have shape {engine.output_shape}, got {what}; it is damaged")
    return np.array(tensor.numpy())


def pack_all(states: dict[str | int, Named], beside: Named | None = None) -> Named:
    """Many states in one dictionary: states of one form stacked, the form in front of the name; their names as JSON.

    Few large tensors are written far faster than many small ones.

    Args:
        states: Tensors of each stream.
        beside: Further tensors for whoever keeps the streams.

    Example:
        >>> packed = pack_all({"a": {"x": torch.ones(1)}, 7: {}, "b": {"x": torch.zeros(1)}})
        >>> sorted(packed), packed["0/x"].shape
        (['0/x', 'forms', 'streams'], torch.Size([2, 1]))
        >>> unpack_all(packed)
        {'a': {'x': tensor([1.])}, 7: {}, 'b': {'x': tensor([0.])}}
    """
    alike: dict[tuple[Any, ...], list[Named]] = {}
    forms = []
    for state in states.values():
        form = tuple((name, tensor.shape, tensor.dtype) for name, tensor in sorted(state.items()))
        alike.setdefault(form, []).append(state)
        forms.append(list(alike).index(form) if len(alike) > 1 else 0)
    tensors = {
        f"{k}/{name}": torch.stack([state[name] for state in group])
        for k, (form, group) in enumerate(alike.items())
        for name, _, _ in form
    }
    kept = {f"{_BESIDE}{name}": tensor for name, tensor in (beside or {}).items()}
    names = torch.frombuffer(bytearray(json.dumps(list(states)).encode()), dtype=torch.uint8)
    return {"streams": names, "forms": torch.tensor(forms, dtype=torch.int64), **tensors, **kept}


def kept_beside(tensors: Named) -> Named:
    """The further tensors out of what `pack_all` made.

    Example:
        >>> kept_beside(pack_all({"a": {}}, {"lines": torch.tensor([3])}))
        {'lines': tensor([3])}
    """
    return {key.removeprefix(_BESIDE): tensor for key, tensor in tensors.items() if key.startswith(_BESIDE)}


def unpack_all(tensors: Named) -> dict[str | int, Named]:
    """The states out of what `pack_all` made.

    Raises:
        ValueError: it is not such a thing.
    """
    try:
        names = json.loads(tensors["streams"].numpy().tobytes())
        forms = tensors["forms"].tolist()
        states: list[Named] = [{} for _ in names]
        for key, stacked in tensors.items():
            form, _, name = key.partition("/")
            if form.isdecimal():
                owners = [k for k, one in enumerate(forms) if one == int(form)]
                for k, tensor in zip(owners, stacked, strict=True):
                    states[k][name] = tensor
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError("this is not the snapshot of a pool, or it is damaged; give what save() wrote") from error
    return dict(zip(names, states, strict=True))


def to_bytes(tensors: dict[str, Tensor]) -> bytes:
    """Named tensors as safetensors, with a checksum in their header.

    Example:
        >>> from_bytes(to_bytes({"a": torch.ones(2)}))
        {'a': tensor([1., 1.])}
    """
    dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
    data = bytes(save(dense, metadata={_CHECKSUM: _UNKNOWN}))
    return data.replace(_field(_UNKNOWN), _field(_checksum(data)), 1)


def from_bytes(data: bytes) -> Named:
    """Named tensors out of safetensors.

    Raises:
        ValueError: damaged.

    Example:
        >>> from_bytes(to_bytes({"count": torch.tensor([3])}))
        {'count': tensor([3])}
    """
    try:
        tensors = dict(load(data))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"the snapshot is damaged ({error}); use one that is whole") from error
    found = _TOLD.search(data[: 8 + int.from_bytes(data[:8], "little")])
    if found is not None:  # else other software wrote it
        told = found[1].decode()
        if told != _checksum(data.replace(_field(told), _field(_UNKNOWN), 1)):
            raise ValueError("the snapshot is damaged (its checksum is that of other values); use one that is whole")
    return tensors


_CHECKSUM, _UNKNOWN = "crc32", "????????"
_TOLD = re.compile(rb'"crc32":"([0-9a-f]{8})"')


def _field(told: str) -> bytes:
    return f'"{_CHECKSUM}":"{told}"'.encode()


def _checksum(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


def write_snapshot(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Writes named tensors to a file, whole or not at all.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "stream.safetensors"
        >>> write_snapshot(path, {"count": torch.tensor([3])})
        >>> path.exists()
        True
    """
    data = to_bytes(tensors)
    write_whole(Path(path), lambda part: part.write_bytes(data))


def read_snapshot(path: str | Path) -> Named:
    """Reads what `write_snapshot` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "stream.safetensors"
        >>> write_snapshot(path, {"count": torch.tensor([3])})
        >>> read_snapshot(path)
        {'count': tensor([3])}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no snapshot {path}; give the file that save() wrote")
    try:
        return from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
