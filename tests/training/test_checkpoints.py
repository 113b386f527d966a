"""Checkpoint files and the nested state in them."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.errors import RunError
from gatelab.training import checkpoints
from gatelab.training.tensors import copied, detached, flatten, unflatten

CPU = torch.device("cpu")
values = st.floats(allow_nan=False, width=32)
states = st.recursive(
    st.none() | st.lists(values, max_size=3).map(torch.tensor), lambda inner: st.lists(inner, max_size=3).map(tuple)
)


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))


@given(states)
def test_any_nested_state_comes_back(state):
    named = {}
    assert equal(unflatten(flatten(state, "carried", named), named, CPU), state)


def test_detached_is_plain_and_has_no_graph():
    class State(NamedTuple):
        h: torch.Tensor
        c: torch.Tensor

    weight = torch.ones(2, requires_grad=True)
    state = detached(State(weight * 2, weight * 3))
    assert type(state) is tuple
    assert not any(tensor.requires_grad for tensor in state)
    with pytest.raises(TypeError, match="dict"):
        detached({"h": weight})


def test_the_latest_two_are_kept(tmp_path):
    for number in range(1, 5):
        checkpoints.save(tmp_path, number, {"x": torch.tensor([float(number)])}, {"number": number})
    assert [path.name[:8] for path in checkpoints.found(tmp_path)] == ["00000003", "00000004"]
    named, stored, warnings = checkpoints.load_latest(tmp_path)
    assert (named["x"].item(), stored, warnings) == (4.0, {"number": 4}, [])


def test_remains_of_a_cut_write_and_other_files_are_no_checkpoints(tmp_path):
    checkpoints.save(tmp_path, 1, {"x": torch.zeros(1)}, {})
    (tmp_path / f".00000002-{'0' * 64}.safetensors.77.tmp").write_bytes(b"half")
    (tmp_path / "mine.safetensors").write_bytes(b"")
    assert checkpoints.load_latest(tmp_path)[2] == []
    assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["0000", "mine"]


def test_nothing_there(tmp_path):
    assert checkpoints.load_latest(tmp_path / "none") is None


@given(st.integers(0, 10**9), st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("flip")
    path = checkpoints.save(folder, 1, {"x": torch.arange(4.0)}, {"step": 3})
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(RunError, match="no checkpoint"):
        checkpoints.load_latest(folder)


def test_tied_and_strided_tensors_are_saved(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    checkpoints.save(tmp_path, 1, copied({"a": tied, "b": tied, "c": tied.T}), {})
    named, _, _ = checkpoints.load_latest(tmp_path)
    assert torch.equal(named["a"], named["b"])
    assert torch.equal(named["c"], tied.T)
