"""Digits by pixel and by row, and the files they come from."""

import gzip
import os

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gatelab.core.errors import DataError
from gatelab.core.random import generator
from gatelab.data.sequence_arrays import read_idx
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import define
from gatelab.tasks.problems.pictures import SHARES


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def zipped(content: bytes) -> bytes:
    """The same bytes whenever it is called: tests are known by them."""
    return gzip.compress(content, mtime=0)


def digits(**config):
    return define("digits", ProblemConfig(**config))


def pictures_of(problem) -> np.ndarray:
    """Every picture of every part as its pixels in the order in which they were read, with its digit, sorted."""
    parts = [problem.part(part) for part in SHARES]
    rows = [np.column_stack([x.swapaxes(0, 1).reshape(y.shape[1], -1), y[0]]) for x, y in parts]
    return np.array(sorted(np.concatenate(rows).tolist()))


@pytest.mark.parametrize("by", ["pixel", "row"])
def test_the_parts_together_are_scikit_learns_digits_each_once(by):
    pixels, labels = load_digits(return_X_y=True)
    expected = np.array(sorted(np.column_stack([pixels / 16, labels]).tolist()))
    assert np.array_equal(pictures_of(digits(by=by)), expected)


def test_a_step_is_a_pixel_or_a_row():
    by_pixel, by_row = digits().part("test").x, digits(by="row").part("test").x
    assert (by_pixel.shape[::2], by_row.shape[::2]) == ((64, 1), (8, 8))
    assert np.array_equal(by_pixel[8:16, :, 0].T, by_row[1])
    assert (by_pixel.min(), by_pixel.max()) == (0, 1)


def test_every_part_has_its_share_of_every_digit():
    counts = np.array([np.bincount(digits().part(part).y[0], minlength=10) for part in SHARES])
    assert np.abs(counts / counts.sum(axis=0) - np.array([list(SHARES.values())]).T).max() < 0.01


def test_one_order_for_all_pictures_that_mixes_every_pixel():
    plain, mixed = digits().part("train").x[:, :, 0], digits(permuted=True).part("train").x[:, :, 0]
    columns = [tuple(column) for column in plain]
    order = [columns.index(tuple(column)) for column in mixed]
    assert sorted(map(tuple, mixed.tolist())) == sorted(map(tuple, plain.tolist()))
    assert np.mean(np.array(order) == np.arange(64)) < 0.2


def test_training_goes_through_every_picture_in_a_shuffled_order():
    problem = digits()
    batches = list(problem.batches("train", 100, generator(0, "order"), 0))
    x = np.concatenate([batch.x for batch in batches], axis=1)
    assert x.shape == problem.part("train").x.shape
    assert not np.array_equal(x, problem.part("train").x)
    assert sorted(x[:, :, 0].T.tolist()) == sorted(problem.part("train").x[:, :, 0].T.tolist())


@pytest.mark.skipif("GATELAB_DATA" not in os.environ, reason="needs the mirror of public data")
def test_mnist_is_read_in_its_own_layout():
    problem = define("mnist_t10k", ProblemConfig(by="row"))
    x, y = problem.part("test")
    assert (x.shape, y.shape) == ((28, 2000, 28), (1, 2000))
    assert sum(problem.size(part) for part in SHARES) == 10_000
    assert (x.min(), x.max()) == (0, 1)
    ink = x.mean(axis=(0, 2))
    assert ink[y[0] == 1].mean() < 0.6 * ink[y[0] == 0].mean(), "a one takes less ink than a nought"
    assert x[:, :, :2].mean() < 0.01 * x[:, :, 12:16].mean(), "digits stand in the middle of their picture"


# ---- IDX files -----------------------------------------------------------------------------------------------------


def idx(shape: tuple[int, ...], kind: int = 8, missing: int = 0) -> bytes:
    values = bytes(number % 256 for number in range(int(np.prod(shape)) - missing))
    return bytes([0, 0, kind, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + values


@pytest.mark.parametrize("shape", [(7,), (2, 3, 5)])
def test_an_idx_file_says_its_own_shape(tmp_path, shape):
    (tmp_path / "file").write_bytes(gzip.compress(idx(shape)))
    assert np.array_equal(read_idx(tmp_path / "file"), np.arange(np.prod(shape)).reshape(shape) % 256)


@pytest.mark.parametrize(
    "content",
    [b"plain", zipped(b""), zipped(b"\0\0\x08"), zipped(b"\0\0\x08\0"),
     zipped(idx((4,), 9)), zipped(idx((4, 2), missing=1)),
     zipped(idx((4,))[:6]), zipped(idx((4, 2)))[:-9]],
)  # fmt: skip
def test_anything_else_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path / "file")
    assert str(tmp_path / "file") in caught.value.problem
    assert caught.value.fix
