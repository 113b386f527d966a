"""Compressed files that hold too much are refused in words; harmless ones are tried, under a low bound."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data import Roles, read_table, unpacking
from gatelab.data.labelled_texts import read_texts
from gatelab.data.sequence_arrays import read_idx
from gatelab.data.sequences import Layout, read_sequences
from gatelab.tasks.music.rolls import read_pieces

ROWS = (f"{np.datetime64('2020-01-01') + k},{k},so it goes,{k % 2}\n" for k in range(400))
TABLE = ("when,y,text,label\n" + "".join(ROWS)).encode()
JSON = b'{"text": "so it goes", "label": 1}\n' * 400


def packed(folder, name: str, content: bytes):
    """A file of a compressed kind that holds ``content``."""
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/one.csv", content)
    return path


def arrays(folder):
    np.savez_compressed(folder / "my.npz", X=np.zeros((40, 30)), y=np.arange(40) % 2)
    return folder / "my.npz"


def parquet(folder):
    pd.DataFrame({"y": np.arange(4000.0)}).to_parquet(folder / "my.parquet")
    return folder / "my.parquet"


READERS = {
    "table.csv.gz": lambda f: read_table(packed(f, "my.csv.gz", TABLE), Roles(target=("y",))),
    "table.zip": lambda f: read_table(packed(f, "my.zip", TABLE), Roles(target=("y",))),
    "table.parquet": lambda f: read_table(parquet(f), Roles(target=("y",))),
    "texts.csv.gz": lambda f: read_texts(packed(f, "my.csv.gz", TABLE), text="text", label="label"),
    "texts.jsonl.gz": lambda f: read_texts(packed(f, "my.jsonl.gz", JSON)),
    "texts.zip": lambda f: read_texts(packed(f, "my.zip", TABLE), labelled=False),
    "sequences.npz": lambda f: read_sequences(arrays(f), Layout()),
    "sequences.csv.gz": lambda f: read_sequences(packed(f, "my.csv.gz", TABLE), Layout(label="label", id="text")),
    "recordings.zip": lambda f: read_sequences(packed(f, "my.zip", TABLE), Layout(channels=("y",)), labelled=False),
    "pictures.gz": lambda f: read_idx(packed(f, "my-images-idx3-ubyte.gz", bytes(9000))),
    "rolls.npz": lambda f: read_pieces(arrays(f)),
}


@pytest.mark.parametrize("name", READERS)
def test_too_much_is_refused_with_the_way_out(name, tmp_path, monkeypatch):
    monkeypatch.setenv(unpacking.VARIABLE, "5e-6")
    with pytest.raises(DataError, match=r"(?s)too much to be unpacked.*at most 5 kB.*GATELAB_MAX_UNPACKED=1 "):
        READERS[name](tmp_path)


def test_bounds_are_a_ratio_and_the_free_memory(monkeypatch):
    monkeypatch.delenv(unpacking.VARIABLE, raising=False)
    assert unpacking.most(1000) == 256_000_000
    assert unpacking.most(10**8) == 10**10
    assert unpacking.most(10**12, in_memory=True) < unpacking.most(10**12)
    monkeypatch.setenv(unpacking.VARIABLE, "3")
    assert unpacking.most(1, in_memory=True) == 3 * 10**9


@pytest.mark.parametrize("given", ["much", "-1", "0", "nan"])
def test_a_bound_that_is_none_is_refused(given, monkeypatch):
    monkeypatch.setenv(unpacking.VARIABLE, given)
    with pytest.raises(InputError, match=r"(?s)GATELAB_MAX_UNPACKED is no size.*gigabytes"):
        unpacking.most(1)


def test_what_is_read_is_what_was_packed(tmp_path):
    for name in ("my.csv.gz", "my.zip"):
        found = read_table(packed(tmp_path, name, TABLE), Roles(target=("y",)))
        np.testing.assert_array_equal(found.series[0].values[:, 0], np.arange(400.0))
