"""The mathematics of recurrent networks in NumPy alone: small enough to read, exact enough to be the reference.

Read in this order:

1. ``activations``: the two squashing functions and their slopes.
2. ``rnn``, ``lstm``, ``gru``: equations, one step, the same step backwards. One screen each; then their relatives,
   ``lstm_coupled``, ``min_gru``, ``min_lstm``.
3. ``sequence``: the loop over time, ``scan`` and ``scan_backward`` first; then layers, directions, windows.
4. ``gradcheck``: how to know that a backward step is right.
5. ``init``, ``losses``, ``optim``: what else it takes to train.
6. ``trace``: every gate and every gradient by name, to look at.
7. ``cell`` and ``parameters``: the record that ties a cell's functions together, and torch's names and layout.

A network, trained for one step:

>>> import numpy as np
>>> from gatelab.cells import CELLS, backward, forward, initial_parameters, losses, optim, to_state_dict
>>> rng = np.random.default_rng(0)
>>> x, y = rng.normal(size=(20, 8, 3)), rng.normal(size=(20, 8, 5))  # (T, B, I), (T, B, H)
>>> params = initial_parameters(CELLS["lstm"], 3, 5, rng)
>>> optimizer = optim.Adam(to_state_dict(params))
>>> (output, state), cache = forward(CELLS["lstm"], params, x)
>>> loss, doutput = losses.mean_squared_error(output, y)
>>> gradients = backward(doutput, cache)
>>> optimizer.step(to_state_dict(gradients.params))
"""

from gatelab.cells import gradcheck, losses, optim
from gatelab.cells.activations import sigmoid
from gatelab.cells.cell import CELLS, Cell, Quantity
from gatelab.cells.init import INITS, initialise
from gatelab.cells.optim import OPTIMIZERS
from gatelab.cells.parameters import from_state_dict, initial_parameters, parameter_count, to_state_dict
from gatelab.cells.sequence import (
    Gradients,
    Output,
    Window,
    backward,
    forward,
    layer_names,
    observed_from_lengths,
    truncated,
)
from gatelab.cells.trace import Trace, trace_of

__all__ = [
    "CELLS",
    "INITS",
    "OPTIMIZERS",
    "Cell",
    "Gradients",
    "Output",
    "Quantity",
    "Trace",
    "Window",
    "backward",
    "forward",
    "from_state_dict",
    "gradcheck",
    "initial_parameters",
    "initialise",
    "layer_names",
    "losses",
    "observed_from_lengths",
    "optim",
    "parameter_count",
    "sigmoid",
    "to_state_dict",
    "trace_of",
    "truncated",
]
