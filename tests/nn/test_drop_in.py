"""What else people do with torch's layers: copies, files, parametrizations, dtypes, ``torch.func``, compilation."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import gatelab.nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn import open_loop
from gatelab.nn.shapes import ShapeError

T, B, INPUT, H = 5, 3, 3, 4
KINDS = ("RNN", "LSTM", "GRU")
PLAIN = {}
EXTRAS = {"layer_norm": True, "zoneout": 0.2, "recurrent_dropout": 0.2, "learn_initial_state": True}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(kind, dtype=torch.float64, **options):
    return getattr(gnn, kind)(INPUT, H, 2, bidirectional=True, dtype=dtype, **options).eval()


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


every_layer = pytest.mark.parametrize(
    ("kind", "options"), [(kind, options) for kind in KINDS for options in (PLAIN, EXTRAS)]
)


@every_layer
def test_files_of_state_dicts(kind, options):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = make(kind, **options)
    other.load_state_dict(torch.load(file, weights_only=True))
    close(other(x), layer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_files_pass_between_torch_and_us(kind):
    ours, theirs = make(kind), getattr(nn, kind)(INPUT, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    for source, target in ((ours, theirs), (theirs, ours)):
        nn.init.normal_(source.weight_hh_l1_reverse)
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file, weights_only=True))
        close(ours(x), theirs(x))


@every_layer
def test_a_whole_layer_in_a_file(kind, options):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert repr(other) == repr(layer)
    close(other(x), layer(x))


@every_layer
def test_a_parametrized_matrix_is_used_and_learned(kind, options):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(3)
    parametrizations.orthogonal(layer, "weight_hh_l0")
    assert type(layer).__name__ == f"Parametrized{kind}"
    flat = layer.weight_hh_l0
    close(flat.T @ flat, torch.eye(H, dtype=torch.float64), 1e-10)
    plain = make(kind, **options)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "parametrizations" not in k}, strict=False)
    with torch.no_grad():
        plain.weight_hh_l0.copy_(flat)
    close(layer(x), plain(x))
    close(open_loop.run(layer, x), layer(x))
    close(copy.deepcopy(layer)(x), layer(x))
    before = layer(x)[0]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    before.square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight_hh_l0, flat)
    close(layer.weight_hh_l0.T @ layer.weight_hh_l0, torch.eye(H, dtype=torch.float64), 1e-10)
    assert not torch.allclose(layer(x)[0], before)


@every_layer
@pytest.mark.parametrize("way", ["new", "old"])
def test_weight_norm(kind, options, way):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    expected = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about the old way
        wrap = {"new": parametrizations.weight_norm, "old": nn.utils.weight_norm}[way]
        wrap(layer, "weight_hh_l0")
    close(layer(x), expected)
    gain = layer.weight_hh_l0_g if way == "old" else layer.parametrizations.weight_hh_l0.original0
    with torch.no_grad():
        gain.mul_(2)
    assert not torch.allclose(layer(x)[0], expected[0])
    layer(x)[0].sum().backward()
    assert gain.grad.abs().sum() > 0
    if way == "old":
        nn.utils.remove_weight_norm(layer, "weight_hh_l0")
        assert isinstance(layer.weight_hh_l0, nn.Parameter)
        layer(x)


@every_layer
def test_weights_need_not_be_contiguous(kind, options):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    expected = layer(x)
    for name, parameter in list(layer.named_parameters()):
        if parameter.dim() == 2:
            strided = parameter.detach().t().contiguous().t()
            assert not strided.is_contiguous() or 1 in strided.shape
            setattr(layer, name, nn.Parameter(strided))
    close(layer(x), expected)
    layer(x)[0].sum().backward()
    assert layer.weight_hh_l0.grad.shape == layer.weight_hh_l0.shape
    close(layer(x.transpose(0, 1).contiguous().transpose(0, 1)), expected)


@every_layer
def test_other_dtypes(kind, options):
    layer, x = make(kind, **options), torch.randn(T, B, INPUT, dtype=torch.float64)
    expected = layer(x)[0]
    assert layer.float()(x.float())[0].dtype == torch.float32
    close(
        layer(x.float())[0].double(), expected, 1e-4 if options else 1e-5
    )  # layer norm of few units magnifies rounding
    x = x.bfloat16()
    output, _ = layer.to(torch.bfloat16)(x)
    assert output.dtype == torch.bfloat16
    layer.double().flatten_parameters()  # with the weights that were rounded on the way
    error = (output.double() - layer(x.double())[0]).abs()
    assert error.mean() < 0.05  # a layer norm over a few units that are nearly equal makes much of a last digit


@every_layer
def test_bfloat16_trains(kind, options):
    layer = make(kind, torch.bfloat16, **options).train()
    items = [torch.randn(n, INPUT, dtype=torch.bfloat16) for n in (2, T, 4)]
    for x in (torch.randn(T, B, INPUT, dtype=torch.bfloat16), pack_sequence(items, enforce_sorted=False)):
        output, _ = layer(x)
        (output if isinstance(output, torch.Tensor) else output.data).float().square().sum().backward()
    assert all(p.grad.dtype == torch.bfloat16 and p.grad.isfinite().all() for p in layer.parameters())


@every_layer
def test_gradients_of_each_item(kind, options):
    """As the docstring of ``gatelab.nn.layers`` says."""
    layer = make(kind, **options)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    x, y = torch.randn(T, B, INPUT, dtype=torch.float64), torch.randn(T, B, 2 * H, dtype=torch.float64)

    def loss(parameters, x, y):
        output, _ = torch.func.functional_call(layer, parameters, (x,))
        return (output - y).square().sum()

    per_item = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1, 1))(parameters, x, y)
    for b in range(B):
        layer.zero_grad()
        (layer(x[:, b])[0] - y[:, b]).square().sum().backward()
        for name, p in layer.named_parameters():
            close(per_item[name][b], p.grad)


def test_each_item_can_have_masks_of_its_own():
    layer = gnn.LSTM(INPUT, H, recurrent_dropout=0.5, zoneout=0.3, input_dropout=0.2)
    item, parameters = torch.randn(T, INPUT), dict(layer.named_parameters())

    def output(x):
        return torch.func.functional_call(layer, parameters, (x,))[0]

    different = torch.func.vmap(output, randomness="different")(item.expand(4, T, INPUT))
    same = torch.func.vmap(output, randomness="same")(item.expand(4, T, INPUT))
    assert not torch.allclose(different[0], different[1])
    assert torch.allclose(same[0], same[1])


@every_layer
def test_compiled_whole(kind, options):
    layer, x = make(kind, torch.float32, **options), torch.randn(T, B, INPUT)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    close(compiled(x), layer(x), 1e-5)
    gradients = [torch.autograd.grad(call(x)[0].sin().sum(), layer.weight_hh_l1)[0] for call in (compiled, layer)]
    close(*gradients, 1e-5)


def test_no_global_flag_is_changed():
    flags = (
        torch.get_num_threads,
        torch.get_default_dtype,
        torch.are_deterministic_algorithms_enabled,
        torch.is_grad_enabled,
        torch.get_float32_matmul_precision,
        lambda: torch.backends.mkldnn.enabled,
        lambda: torch.backends.cudnn.deterministic,
        lambda: torch.get_rng_state().tolist(),
    )
    layers = [make(kind, **options) for kind in KINDS for options in (PLAIN, EXTRAS)]
    before = [flag() for flag in flags]
    for layer in layers:
        layer(torch.ones(T, B, INPUT, dtype=torch.float64))[0].sum().backward()
    assert [flag() for flag in flags] == before


X = torch.randn(6, 4, 3)
MISFITS = {
    "dimensions": lambda nn: nn.GRU(3, 5)(torch.randn(2, 2, 2, 3)),
    "features": lambda nn: nn.GRU(3, 5)(torch.randn(6, 4, 2)),
    "packed features": lambda nn: nn.GRU(3, 5)(pack_padded_sequence(torch.randn(6, 2, 4), torch.tensor([6, 2]))),
    "no steps": lambda nn: nn.RNN(3, 5)(torch.randn(0, 4, 3)),
    "batch of the state": lambda nn: nn.GRU(3, 5)(X, torch.zeros(1, 3, 5)),
    "size of the state": lambda nn: nn.RNN(3, 5, 2)(X, torch.zeros(2, 4, 6)),
    "size of c": lambda nn: nn.LSTM(3, 5)(X, (torch.zeros(1, 4, 5), torch.zeros(1, 4, 6))),
    "state without a batch": lambda nn: nn.GRU(3, 5)(X, torch.zeros(4, 5)),
    "states without a batch": lambda nn: nn.LSTM(3, 5)(X, (torch.zeros(4, 5), torch.zeros(4, 5))),
    "state with a batch": lambda nn: nn.GRU(3, 5)(X[:, 0], torch.zeros(1, 1, 5)),
    "states with a batch": lambda nn: nn.LSTM(3, 5)(X[:, 0], (torch.zeros(1, 1, 5), torch.zeros(1, 1, 5))),
    "cell, features": lambda nn: nn.GRUCell(3, 5)(torch.randn(4, 2)),
    "cell, batch of h": lambda nn: nn.LSTMCell(3, 5)(torch.randn(4, 3), (torch.zeros(3, 5), torch.zeros(4, 5))),
    "cell, batch of c": lambda nn: nn.LSTMCell(3, 5)(torch.randn(4, 3), (torch.zeros(4, 5), torch.zeros(3, 5))),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_said_in_torchs_words_first(name):
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        MISFITS[name](torch.nn)
    with pytest.raises(ShapeError) as ours:
        MISFITS[name](gnn)
    words = str(theirs.value).split(": ")[-1]
    assert words in str(ours.value).splitlines()[0]


def test_torchscript_says_no_and_names_the_way():
    for layer in (gnn.GRU(3, 5), gnn.LSTM(3, 5, layer_norm=True), gnn.MinGRU(3, 5)):
        for attempt in (
            lambda layer: torch.jit.trace(layer, (torch.randn(60, 4, 3),)),
            torch.jit.script,
            lambda layer: torch.onnx.export(layer, (torch.randn(60, 4, 3),), io.BytesIO(), dynamo=False),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, that both are old
                with pytest.raises(InputError, match=r"gatelab\.nn\.onnx\.export"):
                    attempt(layer)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_under_autocast_outputs_are_of_torchs_type(kind, packed):
    """torch 2.13.0: bfloat16 for an RNN and a dense LSTM, float32 for a GRU and for an LSTM that reads a packed one."""
    torch.manual_seed(0)
    layer, other = getattr(gnn, kind)(3, 5), getattr(torch.nn, kind)(3, 5)
    other.load_state_dict(layer.state_dict())
    x = pack_padded_sequence(X, torch.tensor([6, 4, 2, 1])) if packed else X
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (output, state), (their_output, their_state) = layer(x), other(x)
    ours, theirs = (flat([o.data if packed else o, s]) for o, s in ((output, state), (their_output, their_state)))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a.float(), b.float(), rtol=2e-2, atol=2e-2)
    usual = {"RNN": torch.bfloat16, "LSTM": torch.float32 if packed else torch.bfloat16, "GRU": torch.float32}
    assert ours[0].dtype == usual[kind]


def flat(tensors):
    return [tensors] if isinstance(tensors, torch.Tensor) else [t for part in tensors for t in flat(part)]
