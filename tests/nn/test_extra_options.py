"""What extras add to a layer: parameters and their start, options, and the errors for those that cannot be."""

import pytest
import torch

import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.nn import extras
from gatelab.nn.extras import EXTRAS
from gatelab.nn.layers import LAYERS

T, B, INPUT, H, P = 5, 3, 3, 4, 2
RATES = {"input_dropout": 0.3, "recurrent_dropout": 0.4, "weight_drop": 0.45, "zoneout": 0.35}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def moved(**options):
    """An LSTM in float64 in which everything that can be learned has been moved from where it starts."""
    layer = gnn.LSTM(INPUT, H, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


# ---- what is learned, and where it starts -------------------------------------------------------------------------


def test_parameters_and_their_start():
    layer = gnn.LSTM(
        INPUT, H, 2, bidirectional=True, proj_size=P, layer_norm=True, peephole=True, learn_initial_state=True
    )
    found = {name: tuple(p.shape) for name, p in layer.named_parameters() if not name.startswith(("weight", "bias"))}
    own = {"norm_ih": (4 * H,), "norm_hh": (4 * H,), "norm_c": (H,), "norm_c_bias": (H,), "peephole": (3 * H,)}
    scans = ("l0", "l0_reverse", "l1", "l1_reverse")
    assert found == {f"{key}_{scan}": shape for scan in scans for key, shape in own.items()} | {
        "initial_h": (4, P),
        "initial_c": (4, H),
    }
    assert (layer.norm_hh_l1 == 1).all()
    assert (layer.norm_c_bias_l0 == 0).all()
    assert (layer.initial_h == 0).all()
    assert 0 < layer.peephole_l0_reverse.abs().max() <= H**-0.5
    assert gnn.LSTM(INPUT, H, peephole=True, coupled=True).peephole_l0.shape == (2 * H,)
    assert (gnn.GRU(INPUT, H, batch_norm=True).norm_ih_l0 == 0.1).all()


def test_extras_move_no_weight_of_torchs():
    for kind, own in (("RNN", {}), ("LSTM", {"peephole": True}), ("GRU", {})):
        torch.manual_seed(3)
        layer = getattr(gnn, kind)(INPUT, H, 2, layer_norm=True, learn_initial_state=True, **RATES, **own)
        torch.manual_seed(3)
        for name, theirs in getattr(torch.nn, kind)(INPUT, H, 2).named_parameters():
            assert torch.equal(layer.get_parameter(name), theirs)


def test_reset_parameters_starts_everything_anew():
    layer = moved(layer_norm=True, peephole=True, learn_initial_state=True)
    torch.manual_seed(5)
    layer.reset_parameters()
    assert (layer.norm_ih_l0 == 1).all()
    assert (layer.initial_c == 0).all()
    assert layer.peephole_l0.abs().max() <= H**-0.5


def test_the_learned_state_is_used_where_none_is_given():
    layer = moved(learn_initial_state=True)
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    given = tuple(p.unsqueeze(1).expand(1, B, -1).contiguous() for p in (layer.initial_h, layer.initial_c))
    torch.testing.assert_close(layer(x), layer(x, given), rtol=0, atol=0)
    layer(x, given)[0].sum().backward()
    layer(x)[0].sum().backward()
    assert layer.initial_h.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["rnn", "lstm_coupled", "gru"])
def test_initialisation_by_name_in_the_constructor_leaves_the_extras_alone(name):
    torch.manual_seed(1)
    layer = LAYERS[CELLS[name].family](INPUT, H, init="orthogonal", layer_norm=True, **CELLS[name].options)
    for block in layer.weight_hh_l0.detach().split(H):
        torch.testing.assert_close(block @ block.T, torch.eye(H), atol=1e-5, rtol=0)
    assert (layer.norm_ih_l0 == 1).all()


def test_every_option_is_in_the_text_of_the_layer():
    text = repr(gnn.LSTM(INPUT, H, peephole=True, zoneout=(0.1, 0.2), coupled=True, checkpoint_every=5, init="glorot"))
    for part in ("peephole=True", "zoneout=(0.1, 0.2)", "coupled=True", "checkpoint_every=5", "init='glorot'"):
        assert part in text


# ---- options that cannot be ---------------------------------------------------------------------------------------


def test_every_extra_is_an_option_of_configurations_and_of_the_layers_signature():
    assert set(EXTRAS) == set(extras.Options.__annotations__)
    for name, extra in EXTRAS.items():
        assert getattr(ModelConfig(), name) == extra.default
        cell = "lstm" if "gru" not in extra.families else "gru"
        layer = gnn.recurrent(ModelConfig(cell=cell, **{name: RATES.get(name, True)}), INPUT)
        assert [active.name for active in layer.extras] == [name]


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_an_extra_of_other_cells_is_refused(cell):
    for ask in (
        lambda: LAYERS[cell](INPUT, H, peephole=True),
        lambda: gnn.recurrent(ModelConfig(cell=cell, peephole=True), INPUT),
        lambda: gnn.recurrent(ModelConfig(cell=cell, coupled=True), INPUT),
    ):
        with pytest.raises(InputError, match=f"(?i){cell} has no (peephole|coupled)"):
            ask()


@pytest.mark.parametrize(
    "options",
    [
        {"layer_norm": True, "batch_norm": True},
        {"layer_norm": 1},
        {"zoneout": 1.0},
        {"zoneout": (0.1, 0.1, 0.1)},
        {"zoneout": (0.1, -0.1)},
        {"recurrent_dropout": -0.1},
        {"input_dropout": "much"},
        {"input_dropout": True},
        {"checkpoint_every": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(options):
    with pytest.raises(InputError, match=next(reversed(options))):
        gnn.LSTM(INPUT, H, **options)


def test_a_pair_of_rates_is_the_lstms_alone():
    with pytest.raises(InputError, match="a pair"):
        gnn.GRU(INPUT, H, zoneout=(0.1, 0.2))


def test_unknown_keywords_are_pythons_error():
    with pytest.raises(TypeError, match="did you mean zoneout"):
        gnn.GRU(INPUT, H, zonout=0.1)
