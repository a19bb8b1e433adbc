"""A state that is not what a stream wrote is refused in a sentence, wherever the damage is, and nothing changes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from seqkit import S4D, Stream, StreamPool
from seqkit.streaming import from_bytes, to_bytes

LAYER = S4D(2, order=4)


def opened() -> Stream:
    stream = Stream(LAYER)
    stream.push(np.ones((3, 2)))
    return stream


WRONG = {
    "no axis": lambda tensor: tensor.flatten()[0],
    "empty": lambda tensor: tensor[:0],
    "longer": lambda tensor: torch.cat([tensor, tensor]),
    "one axis more": lambda tensor: tensor[None],
    "another dtype": lambda tensor: tensor.to(torch.bfloat16),
    "truths": lambda tensor: tensor > 0,
    "a list": lambda tensor: tensor.tolist(),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("name", ["format", "fingerprint", "count", "clock", "output", "state.x"])
@pytest.mark.parametrize("case", WRONG)
def test_tensors_of_another_form_are_refused(case: str, name: str) -> None:
    state, stream = opened().state_dict(), Stream(LAYER)
    before = to_bytes(stream.state_dict())
    with pytest.raises(ValueError, match=r"damaged|give what state_dict|use the seqkit"):
        stream.load_state_dict({**state, name: WRONG[case](state[name])})
    assert to_bytes(stream.state_dict()) == before


@pytest.mark.parametrize(
    ("name", "values"), [("count", [-1]), ("clock", [5.0, 0.0]), ("clock", [2.0, np.nan]), ("clock", [2.0, np.inf])]
)
def test_counts_and_clocks_that_no_stream_has_are_refused(name: str, values: list[float]) -> None:
    state, stream = opened().state_dict(), Stream(LAYER)
    with pytest.raises(ValueError, match="damaged"):
        stream.load_state_dict({**state, name: torch.tensor(values, dtype=state[name].dtype)})
    assert stream.count == 0


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    pool = StreamPool(LAYER)
    pool.push(["a", 3], np.ones((2, 2)))
    pool.save(tmp_path / "pool")
    whole, chance = (tmp_path / "pool").read_bytes(), random.Random(0)
    other = StreamPool(LAYER)
    other.push(["kept"], [[1.0, 2.0]])
    for place in [len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(200))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            other.restore(tmp_path / "flipped")
        except ValueError:
            continue
        # A flip may hide the checksum, which other software does not write; then nothing else was flipped.
        assert all(to_bytes(other.state_dict(one)) == to_bytes(pool.state_dict(one)) for one in pool)
        other.restore(tmp_path / "pool")
    other = StreamPool(LAYER)
    other.push(["kept"], [[1.0, 2.0]])
    for end in range(0, len(whole), 41):
        (tmp_path / "short").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="damaged"):
            other.restore(tmp_path / "short")
    assert other.ids() == ["kept"]


def test_files_without_a_checksum_are_read() -> None:
    state = opened().state_dict()
    assert to_bytes(from_bytes(save(state))) == to_bytes(state)
