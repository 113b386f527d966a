"""Where compiled kernels are kept, and for how long."""

import os
import time

import pytest

from gatelab.kernels import compiling


def test_code_of_other_versions_is_forgotten_when_nobody_uses_it(tmp_path):
    names = ["kernels-" + 16 * letter for letter in "abc"]
    mine, used, unused, other = (tmp_path / name for name in (*names, "kernels-mine"))
    for folder in (mine, used, unused, other):
        folder.mkdir()
        (folder / "code").write_bytes(b"1")
    long_ago = time.time() - compiling._KEPT - 60
    for folder in (mine, unused, other):
        os.utime(folder, (long_ago, long_ago))
    compiling._forget_others(mine)
    assert sorted(tmp_path.iterdir()) == sorted([mine, used, other])  # the last is nothing of ours
    assert mine.stat().st_mtime > long_ago + 60


def test_a_folder_that_is_not_there_yet(tmp_path):
    compiling._forget_others(tmp_path / "not" / ("kernels-" + 16 * "a"))
    assert not list(tmp_path.iterdir())


def double(x):
    return 2.0 * x


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("rest", [0, 40])
def test_damaged_code_on_disk_is_compiled_again_and_said(tmp_path, monkeypatch, capsys, pattern, rest):
    monkeypatch.setattr(compiling, "folder", lambda: tmp_path)
    assert compiling.kernel(double)(3.0) == 6.0
    damaged = list(tmp_path.rglob(pattern))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:rest])
    capsys.readouterr()
    assert compiling.kernel(double)(3.0) == 6.0
    assert capsys.readouterr().err.count("compiled code on disk is damaged") == 1
    assert compiling.kernel(double)(3.0) == 6.0  # from the disk, where it is whole again
    assert capsys.readouterr().err == ""
