"""The cells with every extra, written out in NumPy for one sequence at a time: no batch, no hooks, no packing."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def normalised(v, gain, blocks):
    """Each of ``blocks`` equal parts of ``v`` at mean 0 and variance 1, times ``gain``."""
    parts = [(p - p.mean()) / np.sqrt(p.var() + 1e-5) for p in np.split(v, blocks)]
    return np.concatenate(parts) * gain


def side(p, which, v, rows=slice(None), H=None):
    """W v + b of the input or hidden side, the product normalised where there is a gain for it."""
    product = p[f"weight_{which}"][rows] @ v
    if f"norm_{which}" in p:
        product = normalised(product, p[f"norm_{which}"][rows], len(product) // H)
    return product + (p[f"bias_{which}"][rows] if f"bias_{which}" in p else 0)


def lstm(p, x, h, c, m, coupled):
    H = len(c)
    z = dict(
        zip(
            "fgo" if coupled else "ifgo",
            np.split(side(p, "ih", x, H=H) + side(p, "hh", h * m, H=H), 3 + (not coupled)),
            strict=True,
        )
    )
    sees = (
        dict(zip("fo" if coupled else "ifo", np.split(p["peephole"], 2 + (not coupled)), strict=True))
        if "peephole" in p
        else {}
    )
    f = sigmoid(z["f"] + sees.get("f", 0) * c)
    i = 1 - f if coupled else sigmoid(z["i"] + sees.get("i", 0) * c)
    c = f * c + i * np.tanh(z["g"])
    o = sigmoid(z["o"] + sees.get("o", 0) * c)
    shown = normalised(c, p["norm_c"], 1) + p["norm_c_bias"] if "norm_c" in p else c
    h = o * np.tanh(shown)
    return p["weight_hr"] @ h if "weight_hr" in p else h, c


def gru(p, x, h, m, reset_after):
    H = len(h)
    xr, xz, xn = np.split(side(p, "ih", x, H=H), 3)
    hr, hz = np.split(side(p, "hh", h * m, slice(2 * H), H=H), 2)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    last = slice(2 * H, None)
    n = np.tanh(xn + (r * side(p, "hh", h * m, last, H=H) if reset_after else side(p, "hh", r * h * m, last, H=H)))
    return (1 - z) * n + z * h


def minimal(p, x, h):
    parts = np.split(side(p, "ih", x), len(p["weight_ih"]) // len(h))
    if len(parts) == 2:
        z, n = sigmoid(parts[0]), parts[1]
        return z * h + (1 - z) * n
    i, f = sigmoid(parts[0]), sigmoid(parts[1])
    return (f * h + i * parts[2]) / (f + i)


def step(cell, p, x, state, m):
    """The state after ``x (I,)``; ``m`` is the recurrent mask."""
    if cell.startswith("lstm"):
        return lstm(p, x, *state, m, cell == "lstm_coupled")
    if cell.startswith("min"):
        return (minimal(p, x, *state),)
    if cell.startswith("gru"):
        return (gru(p, x, *state, m, cell == "gru"),)
    z = side(p, "ih", x, H=len(state[0])) + side(p, "hh", state[0] * m, H=len(state[0]))
    return (np.maximum(z, 0) if cell == "rnn_relu" else np.tanh(z),)


def scan(cell, p, x, state, masks, reverse):
    """``x (T, I)`` to the outputs ``(T, P or H)`` and the last state; ``masks``: input, recurrent, kept by step."""
    outputs = [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        fresh = step(cell, p, x[t] * masks["input"], state, masks["recurrent"])
        state = tuple(k[t] * old + (1 - k[t]) * new for k, old, new in zip(masks["kept"], state, fresh, strict=True))
        outputs[t] = state[0]
    return np.stack(outputs), state
