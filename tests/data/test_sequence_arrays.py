import numpy as np
import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data.sequences import Layout, read_sequences

X = [np.ones((3, 2)), np.zeros((1, 2)), np.full((4, 2), 5)]


def test_arrays_and_lists_of_any_length():
    found = read_sequences((X, ["a", "b", None]), Layout(), labelled=False)
    assert found.labels is None
    for labels, names, kind in (
        (["a", "b", "1"], ("a", "b", "1"), "text"),
        (np.array([2, 0, 1]), ("2", "0", "1"), "int"),
        ([True, False, True], ("True", "False", "True"), "bool"),
        ([1, 0, 2.5], ("1.0", "0.0", "2.5"), "float"),
    ):
        found = read_sequences((X, labels), Layout())
        assert (found.labels, found.label_type) == (names, kind)
    with pytest.raises(DataError, match="different types: 'a' in sequence 1 of the data, 1 in sequence 2 of the data"):
        read_sequences((X, ["a", 1, 2.5]), Layout())
    assert [len(rows) for rows in found.sequences.values] == [3, 1, 4]
    assert found.sequences.channels == ("channel 1", "channel 2")
    for same in (np.ones((4, 7)), np.ones((4, 7, 1), np.float32), np.ones((4, 7), int), [[True] * 7] * 4):
        read = read_sequences(same, Layout(), labelled=False).sequences
        assert [rows.shape for rows in read.values] == [(7, 1)] * 4
        assert read.values.values.dtype == np.float64


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ((X, ["a", "b"]), DataError, "as many labels"),
        ((X, ["a", "b", None]), DataError, "sequence 3.*no label"),
        (([*X, np.ones((2, 3))], list("abcd")), DataError, "sequence 4.*other channels"),
        (([*X, np.ones((0, 2))], list("abcd")), DataError, "sequence 4.*no steps"),
        (([*X, [["x", "y"]]], list("abcd")), DataError, "sequence 4.*no array of numbers"),
        (([*X, [[1, 2], [3]]], list("abcd")), DataError, "sequence 4.*no array of numbers"),
        (([*X, np.ones((1, 2, 2))], list("abcd")), DataError, "sequence 4.*no sequence"),
        (([*X, np.array([[1.0, np.nan]])], list("abcd")), DataError, "sequence 4.*missing"),
        (([*X, np.array([[1.0, -np.inf]])], list("abcd")), DataError, "sequence 4.*infinite"),
        (([], []), DataError, "no sequence"),
        (np.ones(5), InputError, "no sequences"),
        (np.ones((2, 2, 2, 2)), InputError, "no sequences"),
        (7, InputError, "no sequences"),
    ],
)  # fmt: skip
def test_what_is_no_sequence_is_named_by_its_number(source, kind, message):
    with pytest.raises(kind, match=message):
        read_sequences(source, Layout())


def test_numpy_files(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(3, 4))
    assert len(read_sequences(tmp_path / "a.npy", Layout(), labelled=False).sequences) == 3
    with pytest.raises(DataError, match="no label"):
        read_sequences(tmp_path / "a.npy", Layout())
    np.savez(tmp_path / "b.npz", X=np.ones((3, 4, 2)), y=["u", "v", "u"], lengths=[4, 1, 2])
    found = read_sequences(tmp_path / "b.npz", Layout())
    assert found.labels == ("u", "v", "u")
    assert found.sequences.values.lengths.tolist() == [4, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(3)}, "no array X"),
        ({"X": np.ones(3)}, "no sequences"),
        ({"X": np.ones((3, 4)), "y": [1, 2, 3], "lengths": [1, 2, 5]}, "lengths"),
        ({"X": np.ones((3, 4)), "y": [1, 2, 3], "lengths": [1, 2]}, "lengths"),
        ({"X": np.array([[1, None]], object), "y": [1]}, "Python objects"),
    ],
)
def test_numpy_files_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_sequences(tmp_path / "b.npz", Layout())


def test_a_damaged_numpy_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((30, 40)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:500])
    with pytest.raises(DataError, match="cannot be read"):
        read_sequences(tmp_path / "a.npy", Layout(), labelled=False)


def test_data_sets_by_name(monkeypatch):
    try:
        found = read_sequences("tsc_aeon/GunPoint_TRAIN.ts", Layout())
    except DataError as error:
        pytest.skip(str(error))
    assert len(found.sequences) == 50
    digits = read_sequences("digits", Layout())
    assert len(digits.sequences) == 1797
    assert digits.sequences.values[0].shape == (8, 8)
    assert digits.labels[:3] == ("0", "1", "2")
