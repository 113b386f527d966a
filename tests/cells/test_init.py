import numpy as np
import pytest
import scipy.stats
import torch

from gatelab.cells import CELLS, initial_parameters, initialise
from gatelab.core.errors import InputError

I, H = 40, 60  # noqa: E741


def layer(init, cell="lstm", dtype=np.float64):
    params = initial_parameters(CELLS[cell], I, H, np.random.default_rng(0), init=init, dtype=dtype)["l0"]
    gates = CELLS[cell].gates
    return {key: dict(zip(gates, np.split(array, len(gates)), strict=True)) for key, array in params._asdict().items()}


def uniform(array, bound):
    return scipy.stats.kstest(array.ravel(), "uniform", args=(-bound, 2 * bound)).pvalue > 1e-3


def normal(array, scale):
    return scipy.stats.kstest(array.ravel(), "norm", args=(0, scale)).pvalue > 1e-3


def unbiased(arrays):
    return not any(block.any() for key in ("bias_ih", "bias_hh") for block in arrays[key].values())


@pytest.mark.parametrize("cell", list(CELLS))
def test_torch_draws_from_torchs_own_distribution(cell):
    bound = 1 / np.sqrt(H)
    for blocks in layer("torch", cell).values():
        assert uniform(np.concatenate([block.ravel() for block in blocks.values()]), bound)
    theirs = torch.nn.LSTM(I, H).weight_hh_l0.detach().numpy()
    assert uniform(theirs, bound)


def test_glorot_scales_by_each_gates_own_fans():
    arrays = layer("glorot")
    assert all(uniform(block, np.sqrt(6 / (I + H))) for block in arrays["weight_ih"].values())
    assert all(uniform(block, np.sqrt(6 / (H + H))) for block in arrays["weight_hh"].values())
    assert unbiased(arrays)


def test_he_scales_by_fan_in():
    arrays = layer("he", "rnn_relu")
    assert normal(arrays["weight_ih"]["h"], np.sqrt(2 / I))
    assert normal(arrays["weight_hh"]["h"], np.sqrt(2 / H))
    assert unbiased(arrays)


def test_orthogonal_is_orthogonal_gate_by_gate_and_uniform():
    arrays = layer("orthogonal")
    for block in arrays["weight_hh"].values():
        np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-12)
    traces = [
        np.trace(initial_parameters(CELLS["rnn"], 1, 6, np.random.default_rng(k), init="orthogonal")["l0"].weight_hh)
        for k in range(400)
    ]  # over all orthogonal matrices the trace has mean 0 and variance 1; LAPACK's own signs would shift it
    assert abs(np.mean(traces)) < 0.2
    assert abs(np.var(traces) - 1) < 0.3
    assert unbiased(arrays)


def test_identity_adds_up():
    arrays = layer("identity", "rnn_relu")
    np.testing.assert_array_equal(arrays["weight_hh"]["h"], np.eye(H))
    assert normal(arrays["weight_ih"]["h"], 0.001)
    assert unbiased(arrays)


def test_small_normal_is_small():
    arrays = layer("small_normal")
    assert all(normal(block, 0.01) for key in ("weight_ih", "weight_hh") for block in arrays[key].values())
    assert normal(layer("small_normal:0.5")["weight_ih"]["i"], 0.5)
    assert unbiased(arrays)


@pytest.mark.parametrize(("cell", "keeps"), [("lstm", "f"), ("gru", "z"), ("gru_reset_before", "z")])
def test_forget_bias_changes_one_bias_and_nothing_else(cell, keeps):
    plain, arrays = layer("torch", cell), layer("forget_bias:2", cell)
    for key, blocks in arrays.items():
        for gate, block in blocks.items():
            if key.startswith("bias_") and gate == keeps:
                assert (block == (2.0 if key == "bias_ih" else 0.0)).all()
            else:
                np.testing.assert_array_equal(block, plain[key][gate])


def test_a_cell_that_keeps_nothing_by_a_gate_is_left_alone():
    for init in ("forget_bias", "chrono"):
        np.testing.assert_array_equal(layer(init, "rnn")["bias_ih"]["h"], layer("torch", "rnn")["bias_ih"]["h"])


def test_chrono_forgets_at_rates_up_to_the_longest_span():
    arrays = layer("chrono:500")
    keep = arrays["bias_ih"]["f"] + arrays["bias_hh"]["f"]
    assert scipy.stats.kstest(np.exp(keep), "uniform", args=(1, 498)).pvalue > 1e-3
    np.testing.assert_array_equal(arrays["bias_ih"]["i"], -keep)
    gru = layer("chrono:500", "gru")
    assert (gru["bias_ih"]["z"] > 0).all()


def test_rules_combine_in_turn():
    arrays = layer("orthogonal+forget_bias:3")
    np.testing.assert_allclose(arrays["weight_hh"]["o"] @ arrays["weight_hh"]["o"].T, np.eye(H), atol=1e-12)
    assert (arrays["bias_ih"]["f"] == 3).all()
    assert not arrays["bias_ih"]["i"].any()


def test_torchs_own_tensors_can_be_filled():
    module = torch.nn.GRU(I, H)
    arrays = {key.removesuffix("_l0"): value.detach().numpy() for key, value in module.named_parameters()}
    initialise(CELLS["gru"], arrays, np.random.default_rng(0), "orthogonal")
    block = module.weight_hh_l0.detach()[:H].double()
    torch.testing.assert_close(block @ block.T, torch.eye(H, dtype=torch.float64), atol=1e-6, rtol=0)


def test_layers_without_biases_are_filled_where_no_bias_is_asked_for():
    arrays = {"weight_ih": np.zeros((4 * H, I)), "weight_hh": np.zeros((4 * H, H))}
    initialise(CELLS["lstm"], arrays, np.random.default_rng(0), "glorot")
    assert arrays["weight_ih"].all()
    with pytest.raises(InputError, match="this layer has none"):
        initialise(CELLS["lstm"], arrays, np.random.default_rng(0), "forget_bias")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ortogonal", "did you mean orthogonal"),
        ("glorot:2", "takes no number"),
        ("forget_bias:much", "not a number"),
        ("chrono:1", "longest span"),
        ("chrono:nan", "longest span"),
        ("", "no initialisation called ''"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        layer(name)
