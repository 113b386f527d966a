"""PyTorch layers: ``torch.nn``'s RNN, LSTM and GRU, opened up, and what sequences of unequal length need."""

from gatelab.nn.build import recurrent
from gatelab.nn.cells import GRUCell, LSTMCell, RNNCell
from gatelab.nn.convert import from_torch
from gatelab.nn.initialisation import initialise
from gatelab.nn.layers import GRU, LSTM, RNN, Recurrent
from gatelab.nn.masking import compact, final_state, lengths_to_mask, spread
from gatelab.nn.minimal import MinGRU, MinLSTM
from gatelab.nn.shapes import ShapeError
from gatelab.nn.stack import Stack, StackStream
from gatelab.nn.stream import Stream
from gatelab.nn.tracing import Call, Scan, Trace, trace
from gatelab.nn.truncation import Window, truncated

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Call",
    "GRUCell",
    "LSTMCell",
    "MinGRU",
    "MinLSTM",
    "RNNCell",
    "Recurrent",
    "Scan",
    "ShapeError",
    "Stack",
    "StackStream",
    "Stream",
    "Trace",
    "Window",
    "compact",
    "final_state",
    "from_torch",
    "initialise",
    "lengths_to_mask",
    "recurrent",
    "spread",
    "trace",
    "truncated",
]
