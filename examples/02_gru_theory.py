"""The GRU from scratch: two gates with their numbers, where the reset gate stands, and what the GRU cannot do.

    python examples/02_gru_theory.py

    r  = σ(x W_xr + h W_hr + b_r)                     reset gate     how much of the old state the candidate sees
    z  = σ(x W_xz + h W_hz + b_z)                     update gate    how much of the old state to keep
    n  = tanh(x W_xn + b_xn + r ⊙ (h W_hn + b_hn))    candidate, reset after the multiplication (torch, cuDNN)
    n  = tanh(x W_xn + b_xn + (r ⊙ h) W_hn + b_hn)    candidate, reset before it (Cho et al. 2014)
    h' = (1 − z) ⊙ n + z ⊙ h                          state          what is remembered, and shown

Cho et al. 2014, arXiv:1406.1078, eq. 5–8; in the paper, as here, z keeps the old state. T steps, B sequences, I inputs,
H units. The equations are written out on this page. NumPy computes; torch is asked only whether it agrees.
"""

import textwrap
from typing import NamedTuple

import numpy as np
import torch

from gatelab.cells import (
    CELLS,
    backward,
    forward,
    initial_parameters,
    losses,
    optim,
    parameter_count,
    to_state_dict,
    trace_of,
)
from gatelab.core.random import generator

SEED = 0
GATES = ("r", "z", "n")


class Gate(NamedTuple):
    """What one gate learns."""

    w_x: np.ndarray  # (I, H) from the input
    w_h: np.ndarray  # (H, H) from the state
    b_x: np.ndarray  # (H,) on the input's side
    b_h: np.ndarray  # (H,) on the state's side: for n, the side that r closes


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


def sigmoid(z):
    """A number to a share between 0 and 1."""
    return 1 / (1 + np.exp(-z))


def gru_step(gates, x, h, reset_after=True):
    """One step: input ``x (B, I)`` and state ``h (B, H)`` to the new state and the values of the gates."""
    from_x = {name: x @ gate.w_x + gate.b_x for name, gate in gates.items()}  # (B, H) each
    r = sigmoid(from_x["r"] + h @ gates["r"].w_h + gates["r"].b_h)  # (B, H)
    z = sigmoid(from_x["z"] + h @ gates["z"].w_h + gates["z"].b_h)  # (B, H)
    if reset_after:
        n = np.tanh(from_x["n"] + r * (h @ gates["n"].w_h + gates["n"].b_h))  # (B, H)
    else:
        n = np.tanh(from_x["n"] + (r * h) @ gates["n"].w_h + gates["n"].b_h)  # (B, H)
    return (1 - z) * n + z * h, {"r": r, "z": z, "n": n}


def gru_step_backward(gates, x, h, values, dh_new):
    """The step with the reset after, backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and ∂loss/∂gates."""
    r, z, n = (values[name] for name in GATES)
    from_h = h @ gates["n"].w_h + gates["n"].b_h  # (B, H) what r let through
    dn = dh_new * (1 - z) * (1 - n**2)  # (B, H) ∂loss/∂(what went into tanh)
    dz = dh_new * (h - n) * z * (1 - z)  # (B, H) ∂loss/∂(what went into σ): z chooses between h and n
    dr = dn * from_h * r * (1 - r)  # (B, H)
    on_x = {"r": dr, "z": dz, "n": dn}
    on_h = {"r": dr, "z": dz, "n": dn * r}  # the candidate's hidden side went through r
    dgates = {name: Gate(x.T @ on_x[name], h.T @ on_h[name], on_x[name].sum(0), on_h[name].sum(0)) for name in GATES}
    dx = sum(d @ gates[name].w_x.T for name, d in on_x.items())  # (B, I)
    dh = dh_new * z + sum(
        d @ gates[name].w_h.T for name, d in on_h.items()
    )  # (B, H) the first path: times z, nothing else
    return dx, dh, dgates


# ---- 1. what each gate does ----------------------------------------------------------------------------------------


def by_hand():
    """Gates of one unit: the mark opens the way for new content; elsewhere the state is kept."""
    zero, one = np.zeros(1), np.ones((1, 1))  # (H,), (H, H)
    return {
        "r": Gate(np.array([[0.0], [10.0]]), 0 * one, np.array([-5.0]), zero),  # open at the mark
        "z": Gate(np.array([[0.0], [-10.0]]), 0 * one, np.array([5.0]), zero),  # closed at the mark
        "n": Gate(np.array([[1.0], [0.0]]), one, zero, zero),  # tanh(value + r · h)
    }


def show_one_unit():
    """One unit at work, every number of every step; then the same with the reset gate shut."""
    print("1. ONE UNIT, WEIGHTS SET BY HAND: at the mark it adds the value to what it has, elsewhere it keeps\n")
    values, marks = [0.5, -0.3, 0.9, 0.4, -0.6, 0.8, -0.2, -0.9], [1, 0, 0, 1, 0, 0, 0, 1]
    print("   t  value mark |     r      z      n |      h   what happened")
    h, shut = np.zeros((1, 1)), np.zeros((1, 1))  # (B, H) each
    without = by_hand() | {"r": by_hand()["r"]._replace(w_x=np.zeros((2, 1)))}  # r stays at σ(−5)
    for t, (value, mark) in enumerate(zip(values, marks, strict=True)):
        before, x = h.item(), np.array([[value, mark]])  # (B, I)
        h, gate = gru_step(by_hand(), x, h)
        shut, _ = gru_step(without, x, shut)
        r, z, n = (gate[name].item() for name in GATES)
        did = f"tanh({value:+.1f} {r * before:+.2f}) written" if z < 0.5 else f"kept {z:.1%} of {before:+.2f}"
        print(f"  {t:2}  {value:+5.1f} {mark:4} | {r:6.3f} {z:6.3f} {n:+6.3f} | {h.item():+6.3f}   {did}")
    say(
        f"With r always shut the last state is {shut.item():+.3f} instead of {h.item():+.3f}: the candidate then sees "
        f"the value alone, tanh({values[-1]:+.1f}) = {np.tanh(values[-1]):+.3f}, and what was collected is "
        "overwritten."
    )


# ---- 2. forward, backward, and both places of the reset gate -------------------------------------------------------


def random_gates(rng, input_size, hidden_size):
    """Gates with every number drawn."""
    shapes = (input_size, hidden_size), (hidden_size, hidden_size), (hidden_size,), (hidden_size,)
    return {name: Gate(*(rng.normal(0, 0.5, shape) for shape in shapes)) for name in GATES}


def torchs_gru(gates, input_size, hidden_size):
    """``torch.nn.GRU`` with these very weights, in float64: the gates on one another in the order r, z, n."""
    stacked = {
        "weight_ih_l0": np.concatenate([gate.w_x.T for gate in gates.values()]),  # (3H, I)
        "weight_hh_l0": np.concatenate([gate.w_h.T for gate in gates.values()]),  # (3H, H)
        "bias_ih_l0": np.concatenate([gate.b_x for gate in gates.values()]),  # (3H,)
        "bias_hh_l0": np.concatenate([gate.b_h for gate in gates.values()]),  # (3H,)
    }
    layer = torch.nn.GRU(input_size, hidden_size, dtype=torch.float64)
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in stacked.items()})
    return layer


def show_the_way_back():
    """Forward and backward through a sequence by hand, and what torch's autograd says to it."""
    T, B, I, H = 6, 3, 2, 4  # noqa: E741
    rng = generator(SEED, "gradients")
    gates, x = random_gates(rng, I, H), rng.normal(size=(T, B, I))  # (T, B, I)
    states, seen = [np.zeros((B, H))], []  # (B, H) each
    for t in range(T):
        h, values = gru_step(gates, x[t], states[-1])
        states.append(h)
        seen.append(values)
    dh = 2 * h  # (B, H); the loss is Σ h² of the last step
    total = {name: Gate(*(np.zeros_like(a) for a in gate)) for name, gate in gates.items()}
    for t in reversed(range(T)):  # backpropagation through time
        _, dh, dgates = gru_step_backward(gates, x[t], states[t], seen[t], dh)
        total = {name: Gate(*map(np.add, total[name], dgates[name])) for name in GATES}

    layer = torchs_gru(gates, I, H)
    output, _ = layer(torch.from_numpy(x))  # (T, B, H)
    (output[-1] ** 2).sum().backward()
    forward_gap = np.abs(output[-1].detach().numpy() - h).max()
    theirs = {name: np.split(p.grad.numpy(), 3) for name, p in layer.named_parameters()}
    print(f"\n2. FORWARD AND BACKWARD BY HAND, BESIDE TORCH (T = {T}, B = {B}, I = {I}, H = {H}, seed {SEED})\n")
    print("   gate   |∂W_x|   |∂W_h|   |∂b_x|   |∂b_h|   largest difference from autograd")
    gaps = []
    for k, name in enumerate(GATES):
        other = [theirs[key][k].T for key in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
        gaps.append(max(np.abs(a - b).max() for a, b in zip(total[name], other, strict=True)))
        norms = "".join(f"{np.linalg.norm(a):9.4f}" for a in total[name])
        print(f"   {name:4}{norms}   {gaps[-1]:.1e}")
    print(f"\n   Largest difference of the states:    {forward_gap:.1e}")
    print(f"   Largest difference of the gradients: {max(gaps):.1e}")
    show_reset_places(gates, x)


def show_reset_places(gates, x):
    """The same weights with the reset gate in either place, and with weights under which the place does not matter."""
    apart = placement_gap(gates, x)
    diagonal = gates["n"]._replace(w_h=np.diag(np.diag(gates["n"].w_h)), b_h=np.zeros_like(gates["n"].b_h))
    alike = placement_gap(gates | {"n": diagonal}, x)
    print("\n   The reset gate before or after the multiplication, same weights: how far the last states lie apart")
    print(f"     any weights                                      {apart:.1e}")
    print(f"     W_hn diagonal and b_hn zero                      {alike:.1e}")
    say(
        "After: r scales what each unit receives. Before: r scales what each unit sends. The two agree where a unit "
        "sends to itself alone. Weights trained for one do not suit the other, and no state dict tells for which it "
        "was made."
    )


def placement_gap(gates, x):
    """The largest difference of the last states with the reset gate after and before the multiplication."""
    after = before = np.zeros((x.shape[1], len(gates["n"].b_x)))  # (B, H) each
    for step in x:
        after, _ = gru_step(gates, step, after)
        before, _ = gru_step(gates, step, before, reset_after=False)
    return np.abs(after - before).max()


# ---- 3. beside the LSTM --------------------------------------------------------------------------------------------


def show_beside_the_lstm():
    """Parameters, and counting: what separate gates for keeping and writing are good for."""
    print("\n3. BESIDE THE LSTM: three blocks of weights for four, one gate for two\n")
    counts = {name: parameter_count(CELLS[name], 32, 64) for name in ("rnn", "gru", "lstm")}
    for name, count in counts.items():
        share = count / counts["lstm"]
        print(f"   parameters at I = 32, H = 64, {CELLS[name].title:<5} {count:7,}   {share:.2f} of the LSTM's")
    lstm, gru = count_ones("lstm", {"i": 20.0, "f": 20.0, "g": 20.0}), count_ones("gru", {"z": 3.0, "n": 20.0})
    print("\n   Can one unit count? Its input is a row of ones; its biases are set by hand to keep and to write.")
    print("   steps        " + "".join(f"{t:>8}" for t in (1, 2, 5, 10, 50, 100)))
    for label, row in (("c of an LSTM", lstm), ("h of a GRU", gru)):
        print(f"   {label:<13}" + "".join(f"{row[t - 1]:8.3f}" for t in (1, 2, 5, 10, 50, 100)))
    say(
        f"The LSTM keeps all and writes all (i = f = 1): after 100 steps it says {lstm[-1]:.0f}. The GRU's z divides "
        f"the unit between old and new, so its state is an average of values in (−1, 1) and ends at {gru[-1]:.3f}. "
        "A GRU that counts must do it in another way, in the pattern of several units."
    )


def count_ones(name, biases):
    """The memory ``(100,)`` of one unit, its biases given, its weights zero, over 100 steps."""
    cell = CELLS[name]
    params = cell.Params(**{key: np.zeros(shape) for key, shape in cell.shapes(1, 1).items()})
    for gate, bias in biases.items():
        params.bias_ih[cell.gates.index(gate)] = bias
    _, cache = forward(cell, {"l0": params}, np.ones((100, 1, 1)))  # (T, B, I)
    return trace_of(cache)["l0"]["c" if name == "lstm" else "h"][:, 0, 0]


# ---- 4. what the gates learn ---------------------------------------------------------------------------------------


def marked_values(rng, B, T=12):
    """Sequences ``x (T, B, 2)`` of values and one mark each; the target ``(B, 1)`` is the value at the mark."""
    value = rng.uniform(-1, 1, (T, B))  # (T, B)
    at = rng.integers(0, T, B)  # (B,)
    mark = (np.arange(T)[:, None] == at).astype(float)  # (T, B)
    return np.stack([value, mark], axis=2), value[at, np.arange(B)][:, None], at


def by_name(readout):
    """The readout's arrays under names of their own, beside those of the cell."""
    return {f"readout.{name}": array for name, array in readout._asdict().items()}


def trained(name, seed, H, steps=500, B=64):
    """The error on new sequences of a cell with a linear readout, trained with Adam; and what the cell computed."""
    cell, rng = CELLS[name], generator(seed, "training")
    params = initial_parameters(cell, 2, H, rng, init="forget_bias:1")
    readout = losses.LinearParams(rng.normal(0, H**-0.5, (1, H)), np.zeros(1))  # (O, H), (O,)
    optimizer = optim.Adam(to_state_dict(params) | by_name(readout), learning_rate=0.01)
    for _ in range(steps):
        x, y, _ = marked_values(rng, B)  # (T, B, 2), (B, 1)
        (output, _), cache = forward(cell, params, x)  # (T, B, H)
        _, dprediction = losses.mean_squared_error(losses.linear(readout, output[-1]), y)
        doutput = np.zeros_like(output)  # (T, B, H)
        doutput[-1], dreadout = losses.linear_backward(readout, output[-1], dprediction)
        gradients = to_state_dict(backward(doutput, cache).params) | by_name(dreadout)
        optim.clip_by_norm(gradients, 1.0)
        optimizer.step(gradients)
    x, y, at = marked_values(generator(SEED, "test"), 1000)
    (output, _), cache = forward(cell, params, x)
    return ((losses.linear(readout, output[-1]) - y) ** 2).mean(), trace_of(cache)["l0"], at


def show_training():
    """The GRU beside the RNN on the marked value, three seeds; then its gates at the mark and elsewhere."""
    print("\n4. TRAINED: say the marked value after 12 steps (Adam at 0.01, 500 batches of 64, seeds 0, 1, 2)\n")
    sizes = {"rnn": 15, "gru": 8}
    _, y, _ = marked_values(generator(SEED, "test"), 1000)
    print(f"   {'always the mean':<36} mean squared error {((y - y.mean()) ** 2).mean():.4f}")
    for name, H in sizes.items():
        runs = [trained(name, seed, H) for seed in range(3)]
        label = f"{CELLS[name].title}, H = {H}, {parameter_count(CELLS[name], 2, H)} parameters"
        print(f"   {label:<36} mean squared error " + ", ".join(f"{score:.4f}" for score, *_ in runs))
    _, gates, at = runs[0]
    t = np.arange(len(gates["z"]))[:, None]  # (T, 1)
    print("\n   GRU, seed 0: mean over units and sequences   before the mark   at the mark   after the mark")
    for gate, title in (("r", "reset gate"), ("z", "update gate")):
        means = [gates[gate][where].mean() for where in (t < at, t == at, t > at)]
        print(f"   {gate}  {title:<39} {means[0]:>16.2f} {means[1]:>13.2f} {means[2]:>16.2f}")
    move = gates["z"][t == at].mean() - gates["z"][t != at].mean()
    say(
        f"At the mark the update gates differ by {move:+.2f} from elsewhere. Where z falls, the old state makes room "
        "for new content: one gate does both, so to write is to forget."
    )


if __name__ == "__main__":
    show_one_unit()
    show_the_way_back()
    show_beside_the_lstm()
    show_training()
