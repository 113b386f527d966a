"""PyTorch's own module samples, run against our classes and against the open loop.

They live in PyTorch's internal test files. Importing those freezes torch's global flags and loads a hypothesis
profile, so that this file runs itself as a script in a process of its own.
"""

import itertools
import os
import subprocess
import sys
import types
import unittest
from functools import partial
from unittest.mock import patch

import pytest
import torch

import gatelab.nn as gnn
from gatelab.nn import fused, open_loop

OURS = {torch.nn.RNN: gnn.RNN, torch.nn.LSTM: gnn.LSTM, torch.nn.GRU: gnn.GRU}
# Two float32 computations of a few steps and layers: 1.1e-6 apart on an AMD EPYC, where torch sums otherwise than on
# an Intel Xeon. bfloat16 has 8 bits, states to 9.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-1}


@pytest.mark.slow
def test_pytorchs_samples():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "nn.RNN: 192 samples, 14 errors",
        "nn.GRU: 96 samples, 14 errors",
        "nn.LSTM: 192 samples, 14 errors",
    ]


def flat(result):
    return (
        [result]
        if isinstance(result, torch.Tensor)
        else [t for entry in result if entry is not None for t in flat(entry)]
    )


def check_sample(info, sample, dtype, training):
    build, given = sample.constructor_input, sample.forward_input
    options = build.kwargs | {"dtype": dtype}
    ours = OURS[info.module_cls](*build.args, **options).train(training)
    theirs = info.module_cls(*build.args, **options).train(training)
    theirs.load_state_dict(ours.state_dict())
    expected = flat(theirs(*given.args, **given.kwargs))
    results = [ours(*given.args, **given.kwargs)]
    if isinstance(ours, gnn.Recurrent):
        results.append(open_loop.run(ours, *given.args, **given.kwargs))
        with patch.object(fused, "prefers_torch", lambda layer, input: False):  # which samples are too short for
            results.append(ours(*given.args, **given.kwargs))
    for result in map(flat, results):
        for a, b in zip(result, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if sample.reference_fn is not None:
        for a, b in zip(flat(results[0]), flat(sample.reference_fn(ours, *given.args, **given.kwargs)), strict=True):
            torch.testing.assert_close(a, b, rtol=max(TOLERANCE[dtype], 1e-5), atol=max(TOLERANCE[dtype], 1e-5))


def check_error(info, error, kinds):
    build, given = error.module_error_input.constructor_input, error.module_error_input.forward_input
    make = partial(OURS[info.module_cls], *build.args, **build.kwargs)
    fails = make
    if error.error_on is kinds.FORWARD_ERROR:
        fails = partial(make(), *given.args, **given.kwargs)
    with pytest.raises(error.error_type, match=error.error_regex):
        fails()


def main():
    # PyTorch's collection imports this small test tool, and no sample uses it.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
    from torch.testing._internal import common_modules

    torch.manual_seed(0)  # the samples are drawn
    for info in (info for info in common_modules.module_db if info.module_cls in OURS):
        samples = errors = 0
        for dtype, training in itertools.product(TOLERANCE, (True, False)):
            chosen = {"device": "cpu", "dtype": dtype, "requires_grad": False, "training": training}
            for sample in info.module_inputs_func(info, **chosen):
                check_sample(info, sample, dtype, training)
                samples += 1
        for error in info.module_error_inputs_func(info, **chosen):
            check_error(info, error, common_modules.ModuleErrorEnum)
            errors += 1
        print(f"{info.name}: {samples} samples, {errors} errors")


if __name__ == "__main__":
    main()
