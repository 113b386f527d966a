"""The LSTM from scratch: each gate with its numbers, the way back by hand, and what the gates learn.

    python examples/01_lstm_theory.py

    i  = σ(x W_xi + h W_hi + b_i)       input gate     how much of the candidate to write
    f  = σ(x W_xf + h W_hf + b_f)       forget gate    how much of the old cell to keep
    g  = tanh(x W_xg + h W_hg + b_g)    candidate      what to write
    o  = σ(x W_xo + h W_ho + b_o)       output gate    how much of the cell to show
    c' = f ⊙ c + i ⊙ g                  cell state     what is remembered
    h' = o ⊙ tanh(c')                   hidden state   what is shown

Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000. T steps, B sequences, I inputs, H units.
The equations are written out on this page, gate by gate. NumPy computes; torch is asked only whether it agrees.
"""

import textwrap
from typing import NamedTuple

import numpy as np
import torch

from gatelab.cells import CELLS, backward, forward, initial_parameters, losses, optim, to_state_dict, trace_of
from gatelab.core.random import generator

SEED = 0
GATES = ("i", "f", "g", "o")


class Gate(NamedTuple):
    """What one gate learns."""

    w_x: np.ndarray  # (I, H) from the input
    w_h: np.ndarray  # (H, H) from the state that was shown
    b: np.ndarray  # (H,)


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


def sigmoid(z):
    """A number to a share between 0 and 1."""
    return 1 / (1 + np.exp(-z))


def lstm_step(gates, x, h, c):
    """One step: input ``x (B, I)`` and states ``h, c (B, H)`` to the new states and the values of the four gates."""
    z = {name: x @ gate.w_x + h @ gate.w_h + gate.b for name, gate in gates.items()}  # (B, H) each
    i, f, g, o = sigmoid(z["i"]), sigmoid(z["f"]), np.tanh(z["g"]), sigmoid(z["o"])  # (B, H) each
    c_new = f * c + i * g  # (B, H)
    h_new = o * np.tanh(c_new)  # (B, H)
    return h_new, c_new, {"i": i, "f": f, "g": g, "o": o}


def lstm_step_backward(gates, x, h, c, c_new, values, dh_new, dc_new):
    """The same step backwards: from ∂loss/∂(h', c') to ∂loss/∂(x, h, c) and ∂loss/∂gates, by the chain rule."""
    i, f, g, o = (values[name] for name in GATES)
    tanh_c = np.tanh(c_new)  # (B, H)
    dc = dc_new + dh_new * o * (1 - tanh_c**2)  # (B, H) c' is used twice: by the next step, and by h'
    dz = {  # (B, H) each: how much of c' or h' the gate moves, times the slope of its squashing
        "i": dc * g * i * (1 - i),
        "f": dc * c * f * (1 - f),
        "g": dc * i * (1 - g**2),
        "o": dh_new * tanh_c * o * (1 - o),
    }
    dgates = {name: Gate(x.T @ d, h.T @ d, d.sum(0)) for name, d in dz.items()}
    dx = sum(d @ gates[name].w_x.T for name, d in dz.items())  # (B, I)
    dh = sum(d @ gates[name].w_h.T for name, d in dz.items())  # (B, H)
    return dx, dh, dc * f, dgates  # from c' to c: times f, nothing else


# ---- 1. what each gate does ----------------------------------------------------------------------------------------


def latch():
    """Gates of one unit, set by hand, that store the first input whenever the second one is 1."""
    no_h = np.zeros((1, 1))  # (H, H)
    return {
        "i": Gate(np.array([[0.0], [10.0]]), no_h, np.array([-5.0])),  # opens at the mark
        "f": Gate(np.array([[0.0], [-10.0]]), no_h, np.array([5.0])),  # closes at the mark
        "g": Gate(np.array([[1.0], [0.0]]), no_h, np.array([0.0])),  # tanh of the value
        "o": Gate(np.array([[0.0], [0.0]]), no_h, np.array([5.0])),  # always open
    }


def show_one_unit():
    """A memory cell of one unit at work, every number of every step."""
    print("1. ONE UNIT, WEIGHTS SET BY HAND: a memory that is written when the mark is 1\n")
    values, marks = [0.8, -0.3, 0.9, -0.6, 0.1, 0.7, -0.9, 0.4], [1, 0, 0, 0, 1, 0, 0, 0]
    print("   t  value mark |     i      f      g      o |      c      h   what happened to the cell")
    h, c = np.zeros((1, 1)), np.zeros((1, 1))  # (B, H) each
    for t, (value, mark) in enumerate(zip(values, marks, strict=True)):
        before = c.item()
        h, c, gate = lstm_step(latch(), np.array([[value, mark]]), h, c)
        i, f, g, o = (gate[name].item() for name in GATES)
        did = f"wrote {i * g:+.2f}" if i > f else f"kept {f:.1%} of {before:+.2f}, and {i:.1%} of {g:+.2f} came in"
        shares, states = f"{i:6.3f} {f:6.3f} {g:+6.3f} {o:6.3f}", f"{c.item():+6.3f} {h.item():+6.3f}"
        print(f"  {t:2}  {value:+5.1f} {mark:4} | {shares} | {states}   {did}")
    say(
        f"The values at unmarked steps pass by: i = {sigmoid(-5):.3f} lets next to nothing in. What is left of a "
        "cell after n steps is f^n:"
    )
    for bias in (0, 1, 3, 5):
        kept = ", ".join(f"{sigmoid(bias) ** n:.1%} after {n}" for n in (1, 10, 100))
        print(f"     bias of the forget gate {bias}: f = {sigmoid(bias):.3f}, {kept}")


# ---- 2. the same as everybody's LSTM -------------------------------------------------------------------------------


def random_gates(rng, input_size, hidden_size):
    """Gates with every number drawn."""
    shapes = (input_size, hidden_size), (hidden_size, hidden_size), (hidden_size,)
    return {name: Gate(*(rng.normal(0, 0.5, shape) for shape in shapes)) for name in GATES}


def in_torchs_layout(gates):
    """The four gates on one another, in the order i, f, g, o, under torch's names; both biases add up to ``b``."""
    b = np.concatenate([gate.b for gate in gates.values()])  # (4H,)
    return {
        "weight_ih_l0": np.concatenate([gate.w_x.T for gate in gates.values()]),  # (4H, I)
        "weight_hh_l0": np.concatenate([gate.w_h.T for gate in gates.values()]),  # (4H, H)
        "bias_ih_l0": b,
        "bias_hh_l0": np.zeros_like(b),
    }


def torchs_lstm(gates, input_size, hidden_size):
    """``torch.nn.LSTM`` with these very weights, in float64."""
    layer = torch.nn.LSTM(input_size, hidden_size, dtype=torch.float64)
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in in_torchs_layout(gates).items()})
    return layer


def show_the_way_back():
    """Forward and backward through a sequence by hand, and what torch's autograd says to it."""
    T, B, I, H = 6, 3, 2, 4  # noqa: E741
    rng = generator(SEED, "gradients")
    gates, x = random_gates(rng, I, H), rng.normal(size=(T, B, I))  # (T, B, I)
    states, seen = [(np.zeros((B, H)), np.zeros((B, H)))], []  # (B, H) each
    for t in range(T):
        h, c, values = lstm_step(gates, x[t], *states[-1])
        states.append((h, c))
        seen.append(values)
    dh, dc = 2 * h, np.zeros((B, H))  # (B, H) each; the loss is Σ h² of the last step
    total = {name: Gate(*(np.zeros_like(a) for a in gate)) for name, gate in gates.items()}
    for t in reversed(range(T)):  # backpropagation through time: every step adds to the gradient of the same weights
        _, dh, dc, dgates = lstm_step_backward(gates, x[t], *states[t], states[t + 1][1], seen[t], dh, dc)
        total = {name: Gate(*map(np.add, total[name], dgates[name])) for name in GATES}

    layer = torchs_lstm(gates, I, H)
    output, _ = layer(torch.from_numpy(x))  # (T, B, H)
    (output[-1] ** 2).sum().backward()
    forward_gap = np.abs(output[-1].detach().numpy() - h).max()
    print(f"\n2. FORWARD AND BACKWARD BY HAND, BESIDE TORCH (T = {T}, B = {B}, I = {I}, H = {H}, seed {SEED})\n")
    print("   gate   |∂W_x|   |∂W_h|     |∂b|   largest difference from autograd")
    theirs = {name: np.split(p.grad.numpy(), 4) for name, p in layer.named_parameters()}
    gaps = []
    for k, name in enumerate(GATES):
        mine = total[name]
        other = Gate(*(theirs[key][k].T for key in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")))
        gaps.append(max(np.abs(a - b).max() for a, b in zip(mine, other, strict=True)))
        norms = "".join(f"{np.linalg.norm(a):9.4f}" for a in mine)
        print(f"   {name:4}{norms}   {gaps[-1]:.1e}")
    print(f"\n   Largest difference of the states:    {forward_gap:.1e}")
    print(f"   Largest difference of the gradients: {max(gaps):.1e}")
    say("So these 20 lines are torch.nn.LSTM. Only the layout differs: torch stacks the gates in one (4H, I) matrix.")


# ---- 3. why the gradient lasts -------------------------------------------------------------------------------------


def gradient_share(name, init, T=50, H=16, seeds=20):
    """‖∂loss/∂state_k‖ of all steps k, relative to the last one, ``(T,)``: the median over seeds.

    The state is the one that carries the memory: c of the LSTM, h of the RNN. The loss is a random direction of h_T.
    """
    cell, shares = CELLS[name], []
    for seed in range(seeds):
        rng = generator(seed, "share")
        params = initial_parameters(cell, 2, H, rng, init=init)
        (output, _), cache = forward(cell, params, rng.normal(size=(T, 1, 2)))  # (T, B, H)
        doutput = np.zeros_like(output)  # (T, B, H)
        doutput[-1] = rng.normal(size=(1, H))
        state = "c" if "c" in cell.State._fields else "h"
        norm = trace_of(cache, backward(doutput, cache)).gradient_norm("l0", state)[:, 0]  # (T,)
        shares.append(norm / norm[-1])
    return np.median(shares, axis=0)  # (T,)


def show_the_gradient():
    """How much of the gradient of the last step reaches earlier ones, before any training."""
    print("\n3. HOW MUCH OF THE GRADIENT COMES BACK (random weights, T = 50, H = 16, median of seeds 0 to 19)\n")
    back = (1, 5, 10, 20, 40)
    print("   steps back                       " + "".join(f"{k:>10}" for k in back))
    rows = [("vanilla RNN", "rnn", "torch")]
    rows += [(f"LSTM, forget bias {b}", "lstm", f"forget_bias:{b}") for b in (0, 1, 3)]
    shares = {label: gradient_share(name, init) for label, name, init in rows}
    for label, share in shares.items():
        print(f"   {label:<33}" + "".join(f"{share[-1 - k]:>10.1e}" for k in back))
    at_half, open_ = shares["LSTM, forget bias 0"][-1 - 40], shares["LSTM, forget bias 3"][-1 - 40]
    say(
        "From c' to c the gradient is multiplied by f: no matrix, no squashing. But f has to be near 1: with bias 0 "
        f"(f about 0.50) {at_half:.0e} of it is left after 40 steps, with bias 3 (f about 0.95) {open_:.2f}. An LSTM "
        "does not keep its gradient by itself: its gates can be opened, by their bias or by training. The RNN has "
        "none to open."
    )


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


def trained(rng, H=8, steps=1000, B=64):
    """An LSTM with a linear readout of its last state, trained with Adam on the mean squared error."""
    cell = CELLS["lstm"]
    params = initial_parameters(cell, 2, H, rng, init="forget_bias:1")
    readout = losses.LinearParams(rng.normal(0, H**-0.5, (1, H)), np.zeros(1))  # (O, H), (O,)
    optimizer = optim.Adam(to_state_dict(params) | by_name(readout), learning_rate=0.01)
    for _ in range(steps):
        x, y, _ = marked_values(
            rng, B
        )  # (T, B, 2), (B, 1): new sequences at every step, so nothing can be learned by heart
        (output, _), cache = forward(cell, params, x)  # (T, B, H)
        _, dprediction = losses.mean_squared_error(losses.linear(readout, output[-1]), y)
        doutput = np.zeros_like(output)  # (T, B, H)
        doutput[-1], dreadout = losses.linear_backward(readout, output[-1], dprediction)
        gradients = to_state_dict(backward(doutput, cache).params) | by_name(dreadout)
        optim.clip_by_norm(gradients, 1.0)
        optimizer.step(gradients)
    return cell, params, readout


def show_training():
    """Training on the marked value, beside what needs no network; then the gates at the mark and elsewhere."""
    print(f"\n4. TRAINED: say the marked value after 12 steps (H = 8, Adam, 1,000 batches of 64, seed {SEED})\n")
    x, y, at = marked_values(generator(SEED, "test"), 2000)  # (T, B, 2), (B, 1), (B,)
    seen, answers, _ = marked_values(generator(SEED, "linear"), 2000)
    line, *_ = np.linalg.lstsq(_with_one(seen), answers, rcond=None)  # (2T + 1, 1)
    cell, params, readout = trained(generator(SEED, "training"))
    (output, _), cache = forward(cell, params, x)  # (T, B, H)
    scores = {
        "always the mean": ((y - y.mean()) ** 2).mean(),
        "the last value": ((y - x[-1, :, :1]) ** 2).mean(),
        "linear regression on all 24 numbers": ((y - _with_one(x) @ line) ** 2).mean(),
        "LSTM": ((y - losses.linear(readout, output[-1])) ** 2).mean(),
    }
    for label, score in scores.items():
        print(f"   mean squared error, {label:<38} {score:.4f}")
    say("A line cannot multiply the value by its mark; a gate is just such a product.")
    trace = trace_of(cache)["l0"]
    t = np.arange(len(x))[:, None]  # (T, 1)
    print("\n   mean over units and sequences     before the mark   at the mark   after the mark")
    for name, title in (("i", "input gate"), ("f", "forget gate"), ("o", "output gate")):
        means = [trace[name][where].mean() for where in (t < at, t == at, t > at)]
        print(f"   {name}  {title:<28} {means[0]:>16.2f} {means[1]:>13.2f} {means[2]:>16.2f}")
    rise = trace["i"][t == at].mean() - trace["i"][t != at].mean()
    fall = trace["f"][t != at].mean() - trace["f"][t == at].mean()
    plan = "the plan" if rise > 0 and fall > 0 else "another plan than that"
    say(
        f"At the mark the input gates differ by {rise:+.2f} from elsewhere, the forget gates by {-fall:+.2f}. Going "
        f"down the error, the LSTM found {plan} of part 1: write at the mark, keep otherwise."
    )


def _with_one(x):
    """``x (T, B, 2)`` as rows of all numbers of a sequence and a 1: ``(B, 2T + 1)``."""
    rows = x.transpose(1, 0, 2).reshape(x.shape[1], -1)  # (B, 2T)
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


if __name__ == "__main__":
    show_one_unit()
    show_the_way_back()
    show_the_gradient()
    show_training()
