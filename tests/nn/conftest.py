"""What the tests of layers share."""

import pytest

from gatelab.nn import fused


@pytest.fixture
def measured_rule():
    """For tests of the choice between the kernels and torch's own code."""


@pytest.fixture(autouse=True)
def kernels_at_every_length(request, monkeypatch):
    """Tests are short, and at their lengths torch's code is faster: it would be tested in the kernels' place."""
    if "measured_rule" not in request.fixturenames:
        monkeypatch.setattr(fused, "prefers_torch", lambda layer, input: False)
