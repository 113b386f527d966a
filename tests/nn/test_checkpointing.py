"""Scans in pieces: the same numbers, less memory."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gatelab.nn as gnn
from gatelab.nn import checkpointing, open_loop
from gatelab.nn.layers import LAYERS
from memory import PeakMemory

T, INPUT, H = 7, 3, 4
LENGTHS = (3, T, 5, 1)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def everything(layer, x):
    torch.manual_seed(3)
    output, states = layer(x)
    output = output.data if isinstance(output, PackedSequence) else output
    states = states if isinstance(states, tuple) else (states,)
    loss = output.sin().sum() + sum(s.cos().sum() for s in states)
    return [output, *states, *torch.autograd.grad(loss, list(layer.parameters()))]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("every", [1, 3, T, T + 1])
@pytest.mark.parametrize("kind", list(LAYERS))
def test_pieces_give_the_whole(kind, every, packed):
    extras = {"zoneout": 0.3, "input_dropout": 0.2, "learn_initial_state": True}
    if not kind.startswith("min"):
        extras |= {"recurrent_dropout": 0.2, "layer_norm": True}
    for options in ({}, {"num_layers": 2, "bidirectional": True, "dropout": 0.4, **extras}):
        whole = LAYERS[kind](INPUT, H, dtype=torch.float64, **options)
        pieces = copy.deepcopy(whole)
        pieces.checkpoint_every = every
        items = [torch.randn(n if packed else T, INPUT, dtype=torch.float64) for n in LENGTHS]
        x = pack_sequence(items, enforce_sorted=False) if packed else torch.stack(items, 1)
        for a, b in zip(everything(pieces, x), everything(whole, x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def saved_bytes(layer, x):
    """What the graph of one pass holds, each storage counted once."""
    held = {}

    def note(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output, _ = layer(x)
    assert output.requires_grad
    return sum(held.values())


def test_a_graph_holds_the_states_between_pieces_alone():
    x = torch.randn(400, 2, INPUT)
    whole = gnn.LSTM(INPUT, 16, layer_norm=True)
    pieces = copy.deepcopy(whole)
    pieces.checkpoint_every = 20
    assert saved_bytes(pieces, x) < saved_bytes(whole, x) / 10


def test_the_backward_pass_holds_one_piece_at_a_time():
    layer, x = gnn.LSTM(INPUT, 16, layer_norm=True), torch.randn(400, 2, INPUT)
    peaks = []
    for every in (20, None):
        layer.checkpoint_every = every
        layer.zero_grad()
        with PeakMemory() as memory:
            layer(x)[0].sum().backward()
        peaks.append(memory.peak)
    assert peaks[0] < peaks[1] / 3


def test_without_gradients_nothing_is_cut(monkeypatch):
    layer = gnn.GRU(INPUT, H, checkpoint_every=2)
    monkeypatch.setattr(checkpointing, "scan", None)  # would be called
    with torch.no_grad():
        layer(torch.randn(T, 2, INPUT))


def test_second_derivatives_go_through_pieces():
    layer = gnn.GRU(2, 2, checkpoint_every=2, dtype=torch.float64)
    x = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: open_loop.run(layer, x), (x,), fast_mode=True)


def test_an_empty_batch_passes():
    for every in (None, 2):
        layer = gnn.GRU(INPUT, H, checkpoint_every=every, layer_norm=True)
        output, state = layer(torch.randn(T, 0, INPUT))
        assert output.shape == (T, 0, H)
        assert state.shape == (1, 0, H)
