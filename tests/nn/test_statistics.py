"""Recurrent batch normalisation beside torch's BatchNorm1d: one of them for every step and product."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import gatelab.nn as gnn
from gatelab.core.errors import InputError

T, B, INPUT, H = 4, 6, 3, 5


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(**options):
    layer = gnn.LSTM(INPUT, H, batch_norm=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


class Oracle(nn.Module):
    """The LSTM of Cooijmans et al. 2016, eq. 6–8, with a BatchNorm1d for each of the three products of each step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.norms = nn.ModuleList(
            nn.ModuleDict(
                {k: nn.BatchNorm1d(n, affine=False).double() for k, n in (("x", 4 * H), ("h", 4 * H), ("c", H))}
            )
            for _ in range(T)
        )

    def forward(self, x):
        w, outputs = self.layer, []
        h = c = x.new_zeros(x.shape[1], H)
        for t in range(len(x)):
            norm = self.norms[min(t, T - 1)]
            side_x = norm["x"](x[t] @ w.weight_ih_l0.T) * w.norm_ih_l0 + w.bias_ih_l0
            side_h = norm["h"](h @ w.weight_hh_l0.T) * w.norm_hh_l0 + w.bias_hh_l0
            i, f, g, o = (side_x + side_h).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * (norm["c"](c) * w.norm_c_l0 + w.norm_c_bias_l0).tanh()
            outputs.append(h)
        return torch.stack(outputs)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_training_and_evaluation_are_batchnorm1d_step_by_step():
    layer = make()
    oracle = Oracle(layer)
    for _ in range(3):  # the population's statistics move on from batch to batch
        x = torch.randn(T, B, INPUT, dtype=torch.float64)
        ours, theirs = layer(x)[0], oracle(x)
        close(ours, theirs)
        for a, b in zip(
            *(torch.autograd.grad(o.sin().sum(), list(layer.parameters())) for o in (ours, theirs)), strict=True
        ):
            close(a, b)
    for key, name in (("ih", "x"), ("hh", "h"), ("c", "c")):
        close(getattr(layer.statistics_l0, f"mean_{key}"), torch.stack([n[name].running_mean for n in oracle.norms]))
        close(getattr(layer.statistics_l0, f"var_{key}"), torch.stack([n[name].running_var for n in oracle.norms]))
    layer.eval(), oracle.eval()
    longer = torch.randn(T + 3, B, INPUT, dtype=torch.float64)  # steps beyond those seen use the last one's
    close(layer(longer)[0], oracle(longer))
    assert layer.statistics_l0.mean_ih.shape == (T, 4 * H)


def test_in_evaluation_every_item_is_on_its_own():
    layer = make(bidirectional=True, num_layers=2)
    items = [torch.randn(n, INPUT, dtype=torch.float64) for n in (T, 2, 3)]
    layer(pack_sequence(items, enforce_sorted=False))
    layer.eval()
    output, _ = layer(pack_sequence(items, enforce_sorted=False))
    padded, _ = nn.utils.rnn.pad_packed_sequence(output)
    for b, item in enumerate(items):
        close(padded[: len(item), b], layer(item)[0])


def test_before_any_training_the_population_is_standard():
    layer = make()
    oracle = Oracle(layer).eval()
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    close(layer.eval()(x)[0], oracle(x))


def test_a_single_sequence_that_is_left_uses_the_populations_statistics():
    layer = make()
    layer(torch.randn(T, B, INPUT, dtype=torch.float64))
    before = copy.deepcopy(layer.statistics_l0.state_dict())
    long, short = torch.randn(T, INPUT, dtype=torch.float64), torch.randn(2, INPUT, dtype=torch.float64)
    layer(pack_sequence([long, short]))
    for key, kept in before.items():
        now = layer.statistics_l0.state_dict()[key]
        assert not torch.equal(now[:2], kept[:2])
        assert torch.equal(now[2:], kept[2:])
    close(layer(long), layer.eval()(long))
    with pytest.raises(InputError, match="no statistics yet"):
        make()(long)


def test_state_dicts_carry_as_many_steps_as_were_seen():
    layer = make(num_layers=2)
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    layer(x)
    for seen in (0, 2, T + 2):
        other = make(num_layers=2)
        if seen:
            other(torch.randn(seen, B, INPUT, dtype=torch.float64))
        other.load_state_dict(layer.state_dict())
        close(other.eval()(x), layer.eval()(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        gnn.LSTM(INPUT, H + 1, 2, batch_norm=True).load_state_dict(layer.state_dict())
    layer.reset_parameters()
    assert len(layer.statistics_l1.var_hh) == 0


def test_a_step_that_is_computed_twice_is_counted_once():
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    layer = make()
    pieces = copy.deepcopy(layer)
    pieces.checkpoint_every = 3
    for each in (layer, pieces):
        each(x)[0].sum().backward()
        each(x)[0].sum().backward()
    for a, b in zip(layer.state_dict().values(), pieces.state_dict().values(), strict=True):
        close(a, b)
    for a, b in zip(layer.parameters(), pieces.parameters(), strict=True):
        close(a.grad, b.grad)


def test_compiled_whole():
    layer, x = make(), torch.randn(T, B, INPUT, dtype=torch.float64)
    twin = copy.deepcopy(layer)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        close(compiled(x), twin(x))
    close(layer.statistics_l0.var_hh, twin.statistics_l0.var_hh)
    close(compiled.eval()(x), twin.eval()(x))
