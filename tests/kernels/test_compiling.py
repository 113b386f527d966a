"""Where compiled kernels are kept, and for how long."""

import os
import time

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
