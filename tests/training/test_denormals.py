"""Numbers too small for the processor's fast path."""

import pytest
import torch

import toys
from gatelab.training import fit
from gatelab.training.denormals import flush_denormals

HALF = torch.tensor(1e-20)


def product() -> float:
    return float(HALF * HALF)  # 1e-40: a denormal number in float32


@pytest.fixture(autouse=True)
def _restored():
    yield
    torch.set_flush_denormal(False)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor keeps denormal numbers")
def test_flushed_within_the_block_alone():
    assert product() > 0
    with flush_denormals():
        assert product() == 0
        with flush_denormals():
            pass
        assert product() == 0, "the inner block restored what was there before it"
    assert product() > 0


def test_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), flush_denormals():
        raise ZeroDivisionError
    assert product() > 0


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor keeps denormal numbers")
def test_training_flushes_them_and_puts_things_back(tmp_path):
    seen = []
    task = toys.AddingTask.open(0, toys.AddingConfig(items=16))
    fit(task, toys.ModelConfig("gru", hidden_size=2), toys.TrainingConfig(epochs=1, max_steps=1), folder=tmp_path,
        listeners=[lambda event: seen.append(product())])  # fmt: skip
    assert set(seen) == {0.0}
    assert product() > 0
