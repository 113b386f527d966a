"""Resets beside ``torch.nn`` run on each segment by itself."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import gatelab.nn as gnn
from gatelab.nn.shapes import ShapeError

T, B, INPUT, H = 7, 3, 2, 3
LENGTHS = (4, T, 5)
KINDS = ("RNN", "LSTM", "GRU")
FORMS = ("dense", "batch_first", "unbatched", "packed", "packed batch_first")
STACKS = ({}, {"num_layers": 2, "bidirectional": True})


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(kind, form, module=gnn, **options):
    return getattr(module, kind)(INPUT, H, batch_first="batch_first" in form, dtype=torch.float64, **options)


def inputs(form):
    """The input in the given form, and its items one by one."""
    batch = {"unbatched": (T,)}.get(form, LENGTHS if "packed" in form else (T,) * B)
    items = [torch.randn(n, INPUT, dtype=torch.float64, requires_grad=True) for n in batch]
    if "packed" in form:
        return pack_sequence(items, enforce_sorted=False), items
    return items[0] if form == "unbatched" else torch.stack(items, dim=0 if form == "batch_first" else 1), items


def begin(layer, form):
    """An initial state: one tensor for each of h and c."""
    batch = () if form == "unbatched" else (B,)
    return [torch.randn(len(layer.scan_names), *batch, n, dtype=torch.float64) for n in layer.state_sizes]


def as_lies(form, resets):
    """``resets (T, B)`` as an input of the given form wants it."""
    if form == "unbatched":
        return resets[:, 0]
    return resets.T if "batch_first" in form else resets


def item_by_item(layer, form, items, hx, resets):
    """Outputs ``(T_b, D·H)`` of each item, and the final states ``(L·D, B, ·)``: each segment by itself."""
    outputs, finals = [], []
    for b, x in enumerate(items):
        cuts = [0, *(t for t in range(1, len(x)) if resets[t, b]), len(x)]
        states = [s if form == "unbatched" else s[:, b] for s in hx]  # (L·D, ·) each
        zeros = [torch.zeros_like(s) for s in states]
        backward = torch.arange(len(states[0])).unsqueeze(1) % 2 == 1 if layer.bidirectional else torch.tensor(False)
        ends, pieces = [], []
        for start, stop in itertools.pairwise(cuts):
            first, last = start == 0 and not resets[0, b], stop == len(x)
            own = [torch.where(backward if last else ~backward, s, z) for s, z in zip(states, zeros, strict=True)]
            own = states if first and last else own if first or last else zeros
            output, end = layer(x[start:stop], own[0] if len(own) == 1 else tuple(own))
            pieces.append(output)
            ends.append(end if isinstance(end, tuple) else (end,))
        outputs.append(torch.cat(pieces))
        finals.append([torch.where(backward, a, z) for a, z in zip(ends[0], ends[-1], strict=True)])
    return outputs, [torch.stack(s, dim=1) for s in zip(*finals, strict=True)]


def split(form, output):
    """A layer's output item by item."""
    if "packed" in form:
        padded, lengths = pad_packed_sequence(output)
        return [padded[:n, b] for b, n in enumerate(lengths)]
    return [output] if form == "unbatched" else list(output.unbind(0 if form == "batch_first" else 1))


def everything(result, leaves):
    """Outputs, final states and the gradients of a loss over all of them."""
    loss = sum((k + 1) * value.sin().sum() for k, value in enumerate(result))
    return [*result, *torch.autograd.grad(loss, leaves)]


def compare(kind, form, options, resets):
    ours, theirs = make(kind, form, **options), make(kind, "", torch.nn, **options)
    theirs.load_state_dict(ours.state_dict())
    x, items = inputs(form)
    hx = [s.requires_grad_() for s in begin(ours, form)]
    output, states = ours(x, hx[0] if len(hx) == 1 else tuple(hx), as_lies(form, resets))
    states = list(states) if isinstance(states, tuple) else [states]
    wanted, finals = item_by_item(theirs, form, items, hx, resets)
    finals = [s.squeeze(1) for s in finals] if form == "unbatched" else finals
    got = everything([*split(form, output), *states], [*items, *hx, *ours.parameters()])
    expected = everything([*wanted, *finals], [*items, *hx, *theirs.parameters()])
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", STACKS, ids=["one", "stacked both ways"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_segment_is_a_sequence_of_its_own(kind, form, options):
    compare(kind, form, options, torch.rand(T, B) < 0.4)


@settings(max_examples=25, deadline=None)
@given(flags=st.lists(st.booleans(), min_size=T * B, max_size=T * B), form=st.sampled_from(FORMS))
def test_wherever_the_resets_are(flags, form):
    compare("GRU", form, {"num_layers": 2, "bidirectional": True}, torch.tensor(flags).reshape(T, B))


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beyond_a_cut_moves_nothing(kind):
    layer = make(kind, "dense", **STACKS[1])
    x, _ = inputs("dense")
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3, 1] = True
    before, _ = layer(x, None, resets)
    changed = x.detach().clone()
    changed[3:, 1] += 1
    after, _ = layer(changed, None, resets)
    torch.testing.assert_close(after[:3], before[:3], rtol=0, atol=0)
    assert (after[3:, 1] != before[3:, 1]).all()


def test_a_reset_at_step_0_hides_the_given_state_from_the_forward_direction_alone():
    layer = make("GRU", "dense", bidirectional=True)
    x, _ = inputs("dense")
    (hx,) = begin(layer, "dense")
    hx.requires_grad_()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[0, 1] = True
    output, _ = layer(x, hx, resets)
    (gradient,) = torch.autograd.grad(output.sum(), hx)
    assert (gradient[0] != 0).any(dim=1).tolist() == [True, False, True]
    assert (gradient[1] != 0).any(dim=1).all()


def test_a_segment_begins_from_the_learned_initial_state():
    layer = make("LSTM", "dense", learn_initial_state=True)
    torch.nn.init.normal_(layer.initial_h)
    torch.nn.init.normal_(layer.initial_c)
    x, _ = inputs("dense")
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3] = True
    for hx in (None, tuple(begin(layer, "dense"))):
        output, states = layer(x, hx, resets)
        after, wanted = layer(x[3:])
        torch.testing.assert_close(output[:3], layer(x[:3], hx)[0])
        torch.testing.assert_close((output[3:], states), (after, wanted))


EXTRAS = [{"layer_norm": True}, {"batch_norm": True}, {"zoneout": 0.3}, {"peephole": True}]


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
def test_extras_know_nothing_of_resets(extra):
    layer = make("LSTM", "dense", **extra)
    x, _ = inputs("dense")
    layer(x)  # where there are statistics of each step, they are no longer all alike
    layer.eval()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2] = True
    output, states = layer(x, None, resets)
    after, wanted = layer(x[2:])
    torch.testing.assert_close(output, torch.cat([layer(x[:2])[0], after]))
    torch.testing.assert_close(states, wanted)


def test_variational_dropout_draws_every_segment_a_mask_of_its_own():
    layer = make("RNN", "dense", input_dropout=0.5)
    x = torch.ones(400, 1, INPUT, dtype=torch.float64)
    resets = torch.ones(400, 1, dtype=torch.bool)
    resets[1::2] = False
    output, _ = layer(x, None, resets)  # 200 segments of two steps
    assert len(output[::2].flatten(1).unique(dim=0)) == 4  # a mask has two units: 4 kinds of first steps
    firsts, seconds = output[::2, 0], output[1::2, 0]
    assert len(torch.cat([firsts, seconds], dim=1).unique(dim=0)) == 4  # and the second step has the first one's mask


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_by_finite_differences(kind):
    layer = make(kind, "dense", bidirectional=True)
    hx = [s.requires_grad_() for s in begin(layer, "dense")]
    x = torch.randn(T, B, INPUT, dtype=torch.float64, requires_grad=True)
    resets = torch.rand(T, B) < 0.4

    def call(x, *hx):
        output, states = layer(x, hx[0] if len(hx) == 1 else hx, resets)
        return output, *(states if isinstance(states, tuple) else (states,))

    assert torch.autograd.gradcheck(call, (x, *hx), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, *hx), fast_mode=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_trace_shows_every_step_where_the_caller_has_it(form):
    layer = make("LSTM", form, bidirectional=True)
    x, items = inputs(form)
    resets = torch.rand(T, B) < 0.4
    with gnn.trace(layer) as trace:
        output, _ = layer(x, None, as_lies(form, resets))
        rows = output.data if isinstance(output, PackedSequence) else output
        rows.pow(2).sum().backward()
    assert len(trace.calls[""]) == 1
    both = torch.cat([trace.only["l0"]["h"], trace.only["l0_reverse"]["h"]], dim=2)  # (T, B, 2H)
    for b, wanted in enumerate(split(form, output)):
        torch.testing.assert_close(both[: len(wanted), b], wanted.detach(), rtol=0, atol=1e-12)
        assert both[len(wanted) :, b].isnan().all()
    scan = trace.only["l0"]
    norms = torch.stack([scan.gradient(name).nan_to_num() for name in ("h", "f")])
    assert norms.shape == (2, T, len(items), H)
    last = torch.cat([resets[1:, : len(items)], torch.ones(1, len(items), dtype=torch.bool)])  # segments' last steps
    last &= ~scan["h"][..., 0].isnan()
    torch.testing.assert_close(scan["dh"][last], 2 * scan["h"][last])  # no later step adds to their gradient
    torch.testing.assert_close(scan.gradient_norm("h", per_item=False), scan["dh"].nan_to_num().norm(dim=(1, 2)))


def test_no_resets_is_the_plain_call():
    layer = make("LSTM", "dense")
    x, _ = inputs("dense")
    none = torch.zeros(T, B, dtype=torch.bool)
    torch.testing.assert_close(layer(x, None, none), layer(x), rtol=0, atol=0)
    assert layer(x[:, :0], None, none[:, :0])[0].shape == (T, 0, H)


@pytest.mark.parametrize("form", FORMS)
def test_resets_that_do_not_fit(form):
    layer = make("GRU", form)
    x, _ = inputs(form)
    resets = as_lies(form, torch.ones(T, B, dtype=torch.bool))
    for wrong in (resets.int(), resets[:-1], resets.unsqueeze(-1), resets.tolist()):
        with pytest.raises(ShapeError, match="the resets do not fit"):
            layer(x, None, wrong)
