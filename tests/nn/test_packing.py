"""Rows, sizes and items; and that padding and batch mates are inert."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab.cells.cell import CELLS
from gatelab.nn import open_loop, packing
from gatelab.nn.extras import EXTRAS
from gatelab.nn.layers import LAYERS

T, INPUT, H = 5, 3, 4


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


lengths_of_a_batch = st.lists(st.integers(1, T), min_size=2, max_size=4)


@given(lengths_of_a_batch)
def test_items_and_counts_are_those_of_a_packed_sequence(lengths):
    item = torch.arange(len(lengths)).view(1, -1, 1).expand(T, -1, 1)
    packed = pack_padded_sequence(item, torch.tensor(lengths), enforce_sorted=False)
    N = sum(lengths)
    places = packing.items_of(packed.batch_sizes, N, len(lengths))
    assert torch.equal(packed.sorted_indices[places], packed.data[:, 0])
    assert packing.counts(packed.batch_sizes, N, len(lengths)) == packed.batch_sizes.tolist()


def test_items_and_counts_of_a_dense_batch():
    assert packing.items_of(None, 6, 3).tolist() == [0, 1, 2, 0, 1, 2]
    assert packing.counts(None, 6, 3) == [3, 3]
    assert packing.counts(None, 0, 0) == [0]


OPTIONS = {
    "layer_norm": True,
    "input_dropout": 0.3,
    "recurrent_dropout": 0.4,
    "zoneout": 0.35,
    "peephole": True,
    "learn_initial_state": True,
}


@st.composite
def layers(draw):
    """Any cell with any extras; batch normalisation, whose batch mates do act on one another, in evaluation alone."""
    cell = CELLS[draw(st.sampled_from(list(open_loop.STEPS)))]
    possible = [name for name in OPTIONS if cell.family in EXTRAS[name].families]
    chosen = {name: OPTIONS[name] for name in draw(st.sets(st.sampled_from(possible)))}
    training = draw(st.booleans())
    if not training and "layer_norm" not in chosen and cell.family in EXTRAS["batch_norm"].families:
        chosen["batch_norm"] = draw(st.booleans())
    shape = {"num_layers": draw(st.integers(1, 2)), "bidirectional": draw(st.booleans())}
    torch.manual_seed(draw(st.integers(0, 99)))
    layer = LAYERS[cell.family](INPUT, H, dtype=torch.float64, **cell.options, **chosen, **shape)
    if chosen.get("batch_norm"):
        layer(torch.randn(T, 3, INPUT, dtype=torch.float64))
    return layer.train(training)


def shown(layer, x, lengths, states, item):
    """All that ``item`` shows, and every gradient of a loss that sees it alone."""
    torch.manual_seed(7)
    x = x.clone().requires_grad_()
    hx = tuple(s.clone().requires_grad_() for s in states)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    output, final = layer(packed, hx if len(hx) > 1 else hx[0])
    output, _ = pad_packed_sequence(output, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    loss = output[:, item].sin().sum() + sum(s[:, item].cos().sum() for s in final)
    used = [p for name, p in layer.named_parameters() if not name.startswith("initial_")]  # a state is given
    return [output[:, item], *(s[:, item] for s in final), *torch.autograd.grad(loss, [x, *hx, *used])]


@settings(max_examples=60, deadline=None)
@given(layers(), lengths_of_a_batch, st.data())
def test_padding_and_batch_mates_move_no_output_and_no_gradient(layer, lengths, data):
    item, B = data.draw(st.integers(0, len(lengths) - 1)), len(lengths)
    count = len(layer.scan_names)
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    states = [torch.randn(count, B, size, dtype=torch.float64) for size in layer.state_sizes]
    before = shown(layer, x, lengths, states, item)
    changed = torch.full_like(x, float("nan"))  # under the mask
    for b, n in enumerate(lengths):
        changed[:n, b] = x[:n, b] if b == item else 50 * torch.randn(n, INPUT, dtype=torch.float64)
    others = [torch.randn_like(s) for s in states]
    for new, old in zip(others, states, strict=True):
        new[:, item] = old[:, item]
    for a, b in zip(before, shown(layer, changed, lengths, others, item), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(layers().filter(lambda layer: not layer.training), lengths_of_a_batch)
def test_in_evaluation_an_item_is_what_it_is_alone(layer, lengths):
    x = torch.randn(T, len(lengths), INPUT, dtype=torch.float64)
    output, final = layer(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))
    output, _ = pad_packed_sequence(output, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    for b, n in enumerate(lengths):
        alone, states = layer(x[:n, b])
        torch.testing.assert_close(output[:n, b], alone, rtol=1e-10, atol=1e-12)
        for a, s in zip(states if isinstance(states, tuple) else (states,), final, strict=True):
            torch.testing.assert_close(s[:, b], a, rtol=1e-10, atol=1e-12)
