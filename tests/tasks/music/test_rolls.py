"""Reading music: every form it comes in, and what is said when it is something else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.errors import DataError, InputError
from gatelab.tasks.music.rolls import KEYS, key_name, read_pieces

CHORDS = [[60, 64, 67], [], [21, 108]]
ROLL = np.zeros((3, KEYS), np.uint8)
ROLL[0, [39, 43, 46]] = 1
ROLL[2, [0, 87]] = 1


def assert_rolls(found, *rolls: np.ndarray) -> None:
    assert isinstance(found, list)
    assert len(found) == len(rolls)
    for one, other in zip(found, rolls, strict=True):
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (CHORDS, 1),
        ([CHORDS, CHORDS], 2),
        ([tuple(CHORDS)], 1),
        (ROLL, 1),
        ([ROLL, ROLL], 2),
        (np.stack([ROLL, ROLL]), 2),
        (ROLL.astype(bool), 1),
        (ROLL.astype(float).tolist(), 1),
        ([[[60.0, 67.0, 64.0], [-1, -1], [108, -1, 21, 21]]], 1),
    ],
)
def test_one_piece_or_several_as_chords_or_rolls(source, count):
    assert_rolls(read_pieces(source), *[ROLL] * count)


@given(st.lists(st.sets(st.integers(21, 108)), min_size=1))
def test_chords_come_back_from_their_roll(chords):
    (roll,) = read_pieces([[sorted(chord) for chord in chords]])
    assert [set((np.flatnonzero(row) + 21).tolist()) for row in roll] == chords


def test_files(tmp_path):
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = ROLL, ROLL[:2]
    scipy.io.savemat(tmp_path / "cells.mat", {"tunes": cells})
    (tmp_path / "chords.json").write_text(json.dumps([CHORDS, CHORDS[:2]]))
    np.savez(tmp_path / "pieces.npz", a=ROLL, b=ROLL[:2])
    np.save(tmp_path / "one.npy", ROLL)
    for name in ("chords.json", "pieces.npz"):
        assert_rolls(read_pieces(tmp_path / name), ROLL, ROLL[:2])
    assert_rolls(read_pieces(str(tmp_path / "one.npy")), ROLL)
    assert_rolls(read_pieces(tmp_path / "cells.mat"), ROLL, ROLL[:2])


def test_parts_are_known_by_their_usual_names(tmp_path):
    cells = np.empty((1, 1), object)
    cells[0, 0] = ROLL
    scipy.io.savemat(tmp_path / "a.mat", {"traindata": cells, "validdata": cells, "testdata": cells})
    np.savez(tmp_path / "a.npz", test=ROLL, train=ROLL[None], val=ROLL)
    (tmp_path / "a.json").write_text(json.dumps({"test": [CHORDS], "train": [CHORDS], "validation": [CHORDS]}))
    for name in ("a.mat", "a.npz", "a.json"):
        found = read_pieces(tmp_path / name)
        assert isinstance(found, dict)
        assert list(found) == ["train", "validation", "test"]
        for rolls in found.values():
            assert_rolls(rolls, ROLL)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([CHORDS, [[60], [20]]], ["step 2 of piece 2", "21 to 108", "20"]),
        ([[[60.5]]], ["step 1 of piece 1", "60.5"]),
        ([[["C4"]]], ["'C4'"]),
        ([[[None]]], ["None"]),
        ([[[float("nan")]]], ["nan"]),
        ([[[60], 64]], ["step 2 of piece 1", "no chord"]),
        ([CHORDS, []], ["piece 2", "no steps"]),
        ([60, 64], ["holds no pieces"]),
        ([], ["holds no pieces"]),
        (7, ["holds no pieces"]),
        (np.zeros((4, 128)), ["(T, 88)", "(4, 128)", "roll[:, 21:109]"]),
        (np.zeros((88, 4)), ["(T, 88)", "(88, 4)"]),
        (np.full((2, 88), 100), ["on and off", "100", "roll > 0"]),
        (np.full((2, 88), np.nan), ["on and off", "nan"]),
        ({"train": [CHORDS], "test": [CHORDS]}, ["train, valid and test", "train, test"]),
        ({"train": [CHORDS], "valid": [CHORDS], "test": [CHORDS], "rest": []}, ["rest"]),
        ({"train": [CHORDS], "valid": [CHORDS], "test": [[[5]]]}, ["piece 1 of test", "5"]),
    ],
)
def test_what_is_no_music_is_refused_by_piece_and_step(source, words):
    with pytest.raises(DataError) as caught:
        read_pieces(source)
    assert all(word in str(caught.value) for word in words), caught.value
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"[[[60], [6"),
        ("a.json", b"\xff\xfe\x00"),
        ("a.mat", b"not a MATLAB file at all" * 20),
        ("a.mat", b""),
        ("a.npy", b"\x93NUMPY\x01\x00v"),
        ("a.npz", b"PK\x03\x04"),
        ("a.mid", b"MThd"),
    ],
)
def test_damaged_and_foreign_files_are_named(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        read_pieces(tmp_path / name)
    assert caught.value.fix


def test_no_pickle_is_read(tmp_path):
    pieces = np.empty(2, object)
    pieces[0], pieces[1] = ROLL, ROLL[:2]
    np.save(tmp_path / "a.npy", pieces, allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy"):
        read_pieces(tmp_path / "a.npy")


def test_a_file_that_is_not_there_is_said():
    with pytest.raises(InputError, match=r"chorals\.json"):
        read_pieces("chorals.json")


def test_keys_have_the_names_of_a_piano():
    names = [key_name(key) for key in range(KEYS)]
    assert (names[0], names[3], names[39], names[48], names[87]) == ("A0", "C1", "C4", "A4", "C8")
    assert len(set(names)) == KEYS


@pytest.mark.skipif("GATELAB_DATA" not in os.environ, reason="needs the public data: set GATELAB_DATA")
@pytest.mark.parametrize(
    ("name", "pieces", "steps", "notes"),
    [
        ("jsb_chorales", (229, 76, 77), (13_807, 4_602, 4_725), 3.9),
        ("nottingham_pianoroll", (694, 173, 170), (176_561, 45_513, 44_463), 4.0),
    ],
)
def test_public_sets_are_read_whole(name, pieces, steps, notes):
    parts = read_pieces(name)
    assert isinstance(parts, dict)
    assert tuple(len(rolls) for rolls in parts.values()) == pieces
    assert tuple(sum(len(roll) for roll in rolls) for rolls in parts.values()) == steps
    together = np.concatenate([roll for rolls in parts.values() for roll in rolls])
    assert together.sum(axis=1).mean() == pytest.approx(notes, abs=0.15)
