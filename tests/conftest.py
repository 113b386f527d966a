"""What test files in several folders share."""

import gc

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("gatelab", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("gatelab")


def pytest_collection_finish():
    """What is loaded by now stays: the garbage collector need not go through it again and again."""
    gc.collect()  # no garbage is kept with it
    gc.freeze()


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Works in a folder of its own, with one thread and without the traceback that people may have asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATELAB_DEBUG", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
