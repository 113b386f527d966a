"""What the tests of layers share."""

import pytest
import torch

from gatelab.nn import fused


@pytest.fixture(autouse=True)
def the_same_stream_whatever_ran_before():
    """Weights that a test draws do not depend on the order of tests: with some, a small network amplifies rounding."""
    torch.manual_seed(0)


@pytest.fixture
def measured_rule():
    """For tests of the choice between the kernels and torch's own code."""


@pytest.fixture(autouse=True)
def kernels_at_every_length(request, monkeypatch):
    """Tests are short, and at their lengths torch's code is faster: it would be tested in the kernels' place."""
    if "measured_rule" not in request.fixturenames:
        monkeypatch.setattr(fused, "prefers_torch", lambda layer, input: False)
