import errno
import gc
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError, NoSpaceError
from gatelab.data import ragged
from gatelab.data.ragged import Ragged, RaggedWriter

LISTS = st.lists(st.lists(st.integers(-99, 99), max_size=9), max_size=9)


@settings(max_examples=40, deadline=None)
@given(LISTS, st.sampled_from([0, 1 << 20]))
def test_gives_back_what_it_was_given(lists, in_memory):
    found = Ragged.of(lists, np.int64, in_memory=in_memory)
    assert [entry.tolist() for entry in found] == lists
    assert [found[at].tolist() for at in range(len(found))] == lists
    assert found.lengths.tolist() == [len(entry) for entry in lists]
    assert found.spooled == (in_memory == 0 and any(lists))


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_rows_may_be_wide_and_selections_are_views(in_memory):
    arrays = [np.arange(2.0 * length).reshape(length, 2) for length in (3, 0, 1, 4)]
    found = Ragged.of(arrays, np.float32, (2,), in_memory)
    for selected, wanted in (
        (found[1:3], arrays[1:3]),
        (found[np.array([3, 0, 3])], [arrays[3], arrays[0], arrays[3]]),
        (found[np.array([3, 0])][::-1], [arrays[0], arrays[3]]),
        (found[np.array([], int)], []),
    ):
        assert len(selected) == len(wanted)
        for ours, theirs in zip(selected, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert np.shares_memory(selected.values, found.values)
    assert found[-1].shape == (4, 2)
    with pytest.raises(IndexError):
        found[4]
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0] = 1.0


@pytest.mark.parametrize("rows", [[1.0], [[1.0]], [[1.0, 2.0, 3.0]], 1.0])
def test_another_width_is_refused(rows):
    with pytest.raises(ValueError, match="expected"):
        RaggedWriter(np.float64, (2,)).append(rows)


def test_many_small_and_few_large_sequences(monkeypatch):
    monkeypatch.setattr(ragged, "_PENDING_ITEMS", 10)
    monkeypatch.setattr(ragged, "_PENDING_BYTES", 100)
    arrays = [np.full(length, length % 251, np.uint8) for length in [*range(40), 5000, 1]]
    for in_memory in (0, 1000, 1 << 20):
        found = Ragged.of(iter(arrays), np.uint8, in_memory=in_memory)
        assert all((ours == theirs).all() for ours, theirs in zip(found, arrays, strict=True))
        assert found.spooled == (in_memory < 1 << 20)


def test_what_is_in_a_file_travels_by_its_path_and_the_file_goes_with_its_owner():
    found = Ragged.of([np.arange(50_000), np.arange(3)], np.int64, in_memory=1000)
    part = found[1:]
    path = found._file.path
    sent = pickle.dumps((found, part))
    assert len(sent) < 2000
    program = "import pickle, sys; print([int(r[-1]) for one in pickle.load(sys.stdin.buffer) for r in one])"
    read = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True)
    assert read.stdout.decode().strip() == "[49999, 2, 2]"
    del found
    gc.collect()
    assert path.exists(), "a part of it is still in use"
    assert part[0].tolist() == [0, 1, 2]
    del part
    gc.collect()
    assert not path.exists()
    with pytest.raises(DataError, match="is gone") as caught:
        pickle.loads(sent)
    assert caught.value.fix


def test_in_memory_it_travels_whole():
    found = pickle.loads(pickle.dumps(Ragged.of([[1, 2], [3]], np.int64)[np.array([1, 0])]))
    assert [entry.tolist() for entry in found] == [[3], [1, 2]]
    assert not found[0].flags.writeable


def test_an_error_between_leaves_no_file():
    with pytest.raises(ZeroDivisionError), RaggedWriter(np.int64, in_memory=0) as writer:  # noqa: PT012
        writer.append(np.arange(1 << 22))
        path = writer._file.path
        assert path.exists()
        raise ZeroDivisionError
    assert not path.exists()


def test_a_full_disk_is_said_in_words(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(NoSpaceError, match="no space left") as caught:
        Ragged.of([[1]], np.int64, in_memory=0)
    assert "TMPDIR" in caught.value.fix


def test_digest_tells_sequences_apart_wherever_they_are():
    arrays = [[1, 2], [3], []]
    digests = {Ragged.of(arrays, np.int64, in_memory=size).digest() for size in (0, 1 << 20)}
    assert len(digests) == 1
    others = [[[1], [2, 3], []], [[3], [1, 2], []], [[1, 2], [3]], [[1, 2], [4], []]]
    assert len(digests | {Ragged.of(other, np.int64).digest() for other in others}) == 1 + len(others)
    assert Ragged.of(arrays, np.int32).digest() not in digests
