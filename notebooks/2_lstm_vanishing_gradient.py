# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · Why gradients vanish, and what a gate does about it
#
# A network that reads a sequence is trained by going back through it: the error at the end has to tell every earlier
# step what it should have done. On the way it is multiplied once a step. This page follows that product: in NumPy
# from its definition, on paper as far as the theory goes, and then measured in RNN, LSTM and GRU at their start and
# through training.
#
# You will
#
# 1. write the gradient of a vanilla RNN as a product of Jacobians, and check it against backpropagation;
# 2. foretell from one number, the spectral radius, how fast that product vanishes or explodes;
# 3. see how `randn(…) * 0.01`, the start of many tutorials, kills an RNN before the experiment begins;
# 4. watch a gradient explode on a cliff, and cut it down;
# 5. open the additive path of the LSTM and the GRU, and see where it ends;
# 6. read what a study of many trainings found: by cell, start, forget bias and depth.
#
# Letters as everywhere in gatelab: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units, $k$ any step and
# $L_T$ the loss after the last. Vectors are rows, as in the code. Every line that makes an array ends in its shape.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. Sections 1 to 5 need NumPy and
# matplotlib, and gatelab's cells, which are NumPy too; section 6 reads what `gatelab study gradients` found. The
# environment variable `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs).

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

from gatelab.cells import CELLS, backward, forward
from gatelab.core.random import generator
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.statistics import estimate

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
SEEDS = range(3 if BUDGET == "quick" else 10)
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)
plt.rcParams["savefig.bbox"] = "tight"


def say(text):
    """Words that quote what was measured."""
    display(Markdown(text))


# %% [markdown]
# ## 1 · A product of Jacobians
#
# The vanilla RNN is $h_t = \tanh(x_t W_{xh} + h_{t-1} W_{hh} + b_h)$. Moving $h_{t-1}$ a little moves $h_t$ by the
# matrix
#
# $$J_t = \frac{\partial h_t}{\partial h_{t-1}} = W_{hh}\,\mathrm{diag}(1 - h_t^2),$$
#
# and by the chain rule what the loss says to step $k$ is what it says to step $T$, times all that lies between:
#
# $$\frac{\partial L_T}{\partial h_k} = \frac{\partial L_T}{\partial h_T}\,J_T^{\top} J_{T-1}^{\top} \cdots
# J_{k+1}^{\top}.$$
#
# Nothing else reaches step $k$: there is no other road from the loss to it. Here it is in code.


# %%
def rnn_states(w_xh, w_hh, x):
    """The states of an RNN without bias on ``x (T, I)``: ``(T + 1, H)``, the first one zero."""
    h = [np.zeros(len(w_hh))]  # (H,) each
    for step in x:
        h.append(np.tanh(step @ w_xh + h[-1] @ w_hh))
    return np.array(h)  # (T + 1, H)


def backpropagated(w_hh, h, dh):
    """∂L_T/∂h_k for k = T … 0 from ``dh (H,)`` = ∂L_T/∂h_T, one Jacobian at a time: ``(T + 1, H)``."""
    found = [dh]
    for after in h[:0:-1]:
        found.append((found[-1] * (1 - after**2)) @ w_hh.T)
    return np.array(found)  # (T + 1, H)


H, I, T = 32, 4, 60  # noqa: E741
rng = generator(0, "jacobians")
x, dh = rng.normal(size=(T, I)), rng.normal(size=H)  # (T, I), (H,)
w_xh = rng.normal(size=(I, H)) / np.sqrt(I)  # (I, H)
w_hh = rng.normal(size=(H, H)) / np.sqrt(H)  # (H, H)
h = rnn_states(w_xh, w_hh, x)  # (T + 1, H)

product = np.eye(H)
for after in h[1:]:
    product = product @ (w_hh * (1 - after**2))  # (H, H) ∂h_t/∂h_0
by_product = product @ dh  # (H,) ∂L_T/∂h_0
by_steps = backpropagated(w_hh, h, dh)[-1]  # (H,)

layer = CELLS["rnn"].Params(w_xh.T, w_hh.T, np.zeros(H), np.zeros(H))
_, cache = forward(CELLS["rnn"], {"l0": layer}, x[:, None])
doutput = np.zeros((T, 1, H))
doutput[-1] = dh
by_library = backward(doutput, cache).state.h[0, 0]  # (H,)

print(f"‖∂L/∂h_0‖ after {T} steps {np.linalg.norm(by_product):.3e}, of ‖∂L/∂h_T‖ = {np.linalg.norm(dh):.2f}")
print(f"product of Jacobians and step by step differ by {np.abs(by_product - by_steps).max():.0e}")
print(f"product of Jacobians and gatelab.cells differ by {np.abs(by_product - by_library).max():.0e}")

# %% [markdown]
# Three ways, one gradient: backpropagation through time *is* the product of Jacobians.
#
# ## 2 · The spectral radius
#
# How fast does a product of $n$ matrices shrink? Were all of them the same matrix $W$, the answer would be its
# **spectral radius** $\rho$, the largest absolute value of an eigenvalue: $\|W^n\|^{1/n} \to \rho$. With tanh each
# factor is also multiplied by slopes $1 - h^2 \le 1$, so that (Pascanu et al. 2013, arXiv:1211.5063, eq. 5–7)
#
# $$\left\|\frac{\partial L_T}{\partial h_k}\right\| \le \left\|\frac{\partial L_T}{\partial h_T}\right\|
# \,\bigl(\|W_{hh}\|\,\max_t |1 - h_t^2|\bigr)^{T-k}.$$
#
# A norm below 1 is enough to vanish; to explode, a radius above 1 is needed, but not enough. For random weights the
# radius is known before any is drawn: $H \times H$ numbers of variance $g^2/H$ have their eigenvalues in a disk of
# radius $g$ (Girko's circular law).
#
# > **Predict, then run.** An RNN with $g = 1.5$ reads faint noise. Does its gradient explode as $1.5^n$? And one with
# > $g = 1$: is it kept?

# %%
gains = {0.3: "violet", 0.58: "rnn", 1.0: "ochre", 1.5: "sky", 3.0: "rose"}
fig, (disk, fall) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1.5))
rows = []
for gain, colour in gains.items():
    norms = []
    for seed in SEEDS:
        rng = generator(seed, "gain")
        w_xh, w_hh = rng.normal(size=(I, H)) / np.sqrt(I), gain * rng.normal(size=(H, H)) / np.sqrt(H)
        h = rnn_states(w_xh, w_hh, 0.1 * rng.normal(size=(T, I)))  # (T + 1, H)
        norms.append(np.linalg.norm(backpropagated(w_hh, h, rng.normal(size=H)), axis=1))  # (T + 1,)
    logs = np.log(norms)  # (S, T + 1)
    rates = np.exp(np.polyfit(np.arange(T + 1), logs.T, 1)[0])  # (S,) decay per step of each seed
    linear = np.abs(np.linalg.eigvals(w_hh)).max()
    rows.append((gain, linear, estimate(list(rates))))
    fall.plot(np.exp(logs.mean(0) - logs.mean(0)[0]), color=COLOUR[colour], label=f"g = {gain}")
    values = np.linalg.eigvals(w_hh)  # (H,)
    disk.scatter(values.real, values.imag, s=9, color=COLOUR[colour], linewidths=0)
circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
disk.plot(circle.real, circle.imag, color=COLOUR["ink"], linewidth=1)
disk.set(title="Eigenvalues of W_hh", aspect="equal", xlabel="real", ylabel="imaginary")
fall.axhline(1, color=COLOUR["muted"], linewidth=1, linestyle=(0, (1.2, 1.8)))
fall.set(title="‖∂L/∂h_k‖ beside ‖∂L/∂h_T‖", yscale="log", xlabel="distance T − k, steps")
fall.legend(ncols=3, loc="lower left", fontsize=8)
plt.show()
print(f"    g    spectral radius, seed {SEEDS[-1]}    decay per step, mean over seeds [95 % interval]")
for gain, linear, rate in rows:
    print(f"{gain:>5}{linear:>18.2f}{rate.mean:>26.3f} [{rate.low:.3f}, {rate.high:.3f}]")

# %%
decays = {gain: rate for gain, _, rate in rows}


def fate(rate):
    """What becomes of a gradient with this decay per step."""
    return "is not surely one or the other" if rate.low < 1 < rate.high else "vanishes" if rate.mean < 1 else "explodes"


say(
    f"Below 1 the gain says nearly all: 0.3 keeps {decays[0.3].mean:.2f} a step, 0.58 keeps {decays[0.58].mean:.2f}. "
    f"Above 1 it does not: at 1.5 the gradient {fate(decays[1.5])} with {decays[1.5].mean:.2f} a step, at 3.0 it "
    f"{fate(decays[3.0])} with {decays[3.0].mean:.2f}. The states do not stay small there, and where units are near "
    f"±1, tanh is flat: the slopes take back what the weights add."
)

# %% [markdown]
# ## 3 · A start that kills
#
# torch draws $W_{hh}$ from $U(-1/\sqrt H, 1/\sqrt H)$, whose variance is $1/(3H)$. So $g = 1/\sqrt 3 \approx 0.58$,
# whatever $H$ is. Many courses write `W_hh = np.random.randn(H, H) * 0.01`: then $g = 0.01\sqrt H$.
#
# > **Predict, then run.** With $H = 32$ that is $g = 0.057$. How many steps back does the gradient get before 99 % of
# > it is gone? After how many is it exactly zero in 32-bit numbers?

# %%
STARTS = {
    "randn·0.01": (lambda rng: 0.01 * rng.normal(size=(H, H)), "rose"),
    "torch's U(−1/√H, 1/√H)": (lambda rng: rng.uniform(-(H**-0.5), H**-0.5, (H, H)), "rnn"),
    "orthogonal": (lambda rng: np.linalg.qr(rng.normal(size=(H, H)))[0], "gru"),
}
fig, axis = plt.subplots(figsize=(7.4, 3.1))
tiny, lost, dead = float(np.finfo(np.float32).smallest_subnormal), {}, {}
for name, (draw, colour) in STARTS.items():
    norms = []
    for seed in SEEDS:
        rng = generator(seed, "start")
        w_xh, w_hh = 0.1 * rng.normal(size=(I, H)), draw(rng)
        h = rnn_states(w_xh, w_hh, rng.normal(size=(T, I)))
        norms.append(np.linalg.norm(backpropagated(w_hh, h, rng.normal(size=H)), axis=1))
    left = np.exp(np.log(norms).mean(0))  # (T + 1,)
    left = left / left[0]
    lost[name] = int(np.argmax(left < 0.01)) if (left < 0.01).any() else None
    dead[name] = int(np.argmax(left < tiny)) if (left < tiny).any() else None
    axis.plot(left, color=COLOUR[colour], label=name)
axis.axhspan(1e-75, tiny, color=COLOUR["grey"], alpha=0.15, linewidth=0)
axis.text(T, tiny / 30, "zero in float32", ha="right", va="top", color=COLOUR["muted"], fontsize=8)
axis.set(yscale="log", ylim=(1e-75, 10), xlabel="distance T − k, steps", title="What is left of the gradient")
axis.legend(loc="lower left", fontsize=8)
plt.show()


def steps(count):
    """A number of steps in words."""
    return "no step within reach" if count is None else f"{count} step{'' if count == 1 else 's'}"


for name in STARTS:
    print(f"{name:<24} below 1 % after {steps(lost[name])}, zero in float32 after {steps(dead[name])}")

# %% [markdown]
# An experiment that starts there shows that "RNNs cannot remember", and would show it of any network: its gradient is
# lost within a few steps by arithmetic, not by nature. In section 6 the same start is given to trained networks, LSTM
# and GRU among them. When someone shows you an RNN that fails, ask first what it started from.
#
# ## 4 · Exploding, and clipping
#
# The other side is a cliff. One unit without input, $h_t = w\,\sigma(h_{t-1}) + b$ with $\sigma$ the logistic
# function, is asked to end at 0.7 after 50 steps (the example of Pascanu et al. 2013, figure 6). Its loss over
# $(w, b)$ is nearly flat, then a wall: at some weights the unit tips over from one fixed point to another.

# %%
N_STEPS = 50


def cliff(w, b):
    """Loss and gradient ``(∂L/∂w, ∂L/∂b)`` of one unit after 50 steps; arrays of any one shape."""
    h, h_w, h_b = np.full_like(w, 0.5), np.zeros_like(w), np.zeros_like(w)
    for _ in range(N_STEPS):
        s = 1 / (1 + np.exp(-np.clip(h, -60, 60)))
        h, h_w, h_b = w * s + b, s + w * s * (1 - s) * h_w, w * s * (1 - s) * h_b + 1
    s = 1 / (1 + np.exp(-np.clip(h, -60, 60)))
    error = 2 * (s - 0.7) * s * (1 - s)
    return (s - 0.7) ** 2, np.array([error * h_w, error * h_b])


def descend(starts, rate, clip, count):
    """Gradient descent from ``starts (2, N)``, each step clipped to the norm ``clip``: ``(count + 1, 2, N)``."""
    path = [np.array(starts, dtype=float)]
    for _ in range(count):
        _, g = cliff(*path[-1])  # (2, N)
        scale = 1.0 if clip is None else np.minimum(1.0, clip / np.maximum(np.linalg.norm(g, axis=0), 1e-12))
        path.append(path[-1] - rate * scale * g)
    return np.array(path)


w, b = np.meshgrid(np.linspace(3, 7, 300), np.linspace(-3.2, -1.6, 300))  # (300, 300) each
loss, slope = cliff(w, b)
steepest = np.linalg.norm(slope, axis=0)  # (300, 300)
RATE, CLIP, DESCENT, STARTS_ON_MAP = 0.1, 0.3, 400, 40
rng = generator(0, "cliff")
starts = np.stack([rng.uniform(4.6, 6.4, STARTS_ON_MAP), rng.uniform(-2.6, -2.0, STARTS_ON_MAP)])  # (2, N)
starts[:, 0] = 5.5, -2.6  # the one that is drawn
ways = {
    "free": (descend(starts, RATE, None, DESCENT), "rose"),
    "clipped": (descend(starts, RATE, CLIP, DESCENT), "gru"),
}
losses = {name: cliff(path[:, 0], path[:, 1])[0] for name, (path, _) in ways.items()}  # (count + 1, N) each

fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.3), width_ratios=(1.25, 1))
image = axes[0].pcolormesh(w, b, loss, cmap="Blues", rasterized=True)
fig.colorbar(image, ax=axes[0], label="loss", aspect=14, pad=0.01)
for name, (path, colour) in ways.items():
    axes[0].plot(*path[:, :, 0].T, color=COLOUR[colour], marker="o", markersize=1.8, linewidth=0.9, label=name)
    axes[1].plot(losses[name][:, 0], color=COLOUR[colour], linewidth=0.9)
axes[0].scatter(*starts[:, 0], color=COLOUR["ink"], s=22, zorder=5)
axes[0].set(xlim=(3, 7), ylim=(-3.2, -1.6), xlabel="w", ylabel="b", title="The cliff, and two descents from one start")
axes[0].legend(loc="upper right", fontsize=8)
axes[1].set(xlabel="step", ylabel="loss", title="Loss on the way")
plt.show()
print(f"steepest slope on this map {steepest.max():,.0f}; on its flatter half below {np.median(steepest):.3f}")
for name, (path, _) in ways.items():
    jump, ends = np.abs(np.diff(path, axis=0)).max(axis=(0, 1)), losses[name][-100:].mean(axis=0)  # (N,) each
    print(f"{name:<8} the longest step moves a weight by {jump[0]:.2f}; of {STARTS_ON_MAP} starts "
          f"{np.sum(ends < 0.01)} end below a loss of 0.01 (mean of the last 100 steps)")  # fmt: skip

# %% [markdown]
# A slope that was found on the wall says in which direction to go, but not how far: it only holds on the wall.
# **Clipping** keeps its direction and cuts its length, $g \leftarrow g \min(1, \theta / \|g\|)$ with $g$ all gradients
# as one vector.
#
# Does it matter for a network? A vanilla RNN is asked for the sign of a number that it saw twenty steps ago; its
# start has a gain of 2, so that the gradient gets there and beyond. Plain gradient descent, with and without clipping.
#
# > **Predict, then run.** Of the trainings without clipping, how many end no better than a coin?

# %%
LAG, WIDTH, BATCH, COUNT = 20, 24, 32, 300 if BUDGET == "quick" else 600


def recall_batch(rng):
    """A bit as ±1 beside a mark, then noise: ``x (T, B, 2)`` and the bit ``(B,)``."""
    bits = rng.integers(2, size=BATCH)  # (B,)
    x = np.stack([rng.normal(size=(LAG + 1, BATCH)), np.zeros((LAG + 1, BATCH))], axis=2)  # (T, B, 2)
    x[0] = np.stack([2 * bits - 1, np.ones(BATCH)], axis=1)
    return x, bits


def recall_step(p, x, bits):
    """Cross-entropy of the bit from the last state, the share that is right, and the gradients of ``p``."""
    h = [np.zeros((BATCH, WIDTH))]  # (B, H) each
    for step in x:
        h.append(np.tanh(step @ p["w_xh"] + h[-1] @ p["w_hh"]))
    logit = h[-1] @ p["w_hy"]  # (B,)
    dlogit = (1 / (1 + np.exp(-np.clip(logit, -60, 60))) - bits) / BATCH  # (B,)
    d = {"w_xh": 0.0, "w_hh": 0.0, "w_hy": h[-1].T @ dlogit}
    dh = np.outer(dlogit, p["w_hy"])  # (B, H)
    for t in reversed(range(len(x))):
        dz = dh * (1 - h[t + 1] ** 2)  # (B, H)
        d["w_xh"], d["w_hh"], dh = d["w_xh"] + x[t].T @ dz, d["w_hh"] + h[t].T @ dz, dz @ p["w_hh"].T
    loss = np.mean(np.logaddexp(0, logit) - bits * logit)
    return loss, np.mean((logit > 0) == bits), d


def learn(seed, clip, rate=1.0):
    """Loss, accuracy and gradient norm of every step of a training: ``(COUNT, 3)``."""
    rng = generator(seed, "clipping")
    p = {"w_xh": rng.normal(size=(2, WIDTH)), "w_hh": 2 * rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)}
    p["w_hy"] = rng.normal(size=WIDTH) / np.sqrt(WIDTH)  # (H,)
    curve = []
    for _ in range(COUNT):
        loss, right, d = recall_step(p, *recall_batch(rng))
        norm = np.sqrt(sum(np.sum(g**2) for g in d.values()))
        scale = 1.0 if clip is None else min(1.0, clip / norm)
        for name, g in d.items():
            p[name] -= rate * scale * g
        curve.append((loss, right, norm))
    return np.array(curve)


trainings = {clip: np.array([learn(seed, clip) for seed in SEEDS]) for clip in (None, 1.0)}  # (S, COUNT, 3) each
fig, axes = plt.subplots(1, 2, figsize=(9.2, 2.9))
window = np.ones(25) / 25
for clip, name, colour in ((None, "without", "rose"), (1.0, "clipped at 1", "gru")):
    for at, curve in enumerate(trainings[clip]):
        label = name if at == 0 else None
        axes[0].plot(np.convolve(curve[:, 1], window, "valid"), color=COLOUR[colour], linewidth=1, label=label)
        largest = curve[:, 2].reshape(-1, 20).max(1)  # (COUNT / 20,)
        axes[1].plot(np.arange(0, COUNT, 20), largest, color=COLOUR[colour], linewidth=1)
axes[0].axhline(0.5, color=COLOUR["grey"], linestyle=(0, (1.2, 1.8)))
axes[0].set(title="Accuracy, each seed (mean of 25 steps)", xlabel="step", ylim=(0.3, 1.02))
axes[0].legend(loc="lower right", fontsize=8)
axes[1].set(title="Largest gradient norm of 20 steps, unclipped", xlabel="step", yscale="log")
plt.show()

last = {clip: curves[:, -COUNT // 5 :, 1].mean(1) for clip, curves in trainings.items()}  # (S,) each
for clip, name in ((None, "without clipping"), (1.0, "clipped at 1")):
    norms, ends = trainings[clip][:, :, 2], estimate(list(last[clip]))
    print(f"{name:<17} accuracy at the end {ends.mean:.3f} [{ends.low:.3f}, {ends.high:.3f}], no better than a coin: "
          f"{np.sum(last[clip] < 0.6)} of {len(last[clip])}; largest gradient {norms.max():,.0f}, median "
          f"{np.median(norms):.2g}")  # fmt: skip

# %%
gain = estimate(list(last[1.0] - last[None]))
found = (
    "more" if gain.low > 0 else "less" if gain.high < 0 else "neither more nor less, as far as these seeds can tell,"
)
say(
    f"With clipping the network learns **{found}**: accuracy differs by {gain.mean:+.3f} [{gain.low:+.3f}, "
    f"{gain.high:+.3f}], seed by seed. That is plain gradient descent on a vanilla RNN. Adam divides each step by the "
    f"recent size of the gradient and so clips in its own way; `gatelab study claims` tests it for the gated cells too."
)

# %% [markdown]
# ## 5 · The additive path
#
# The LSTM's cell goes from step to step by $c_t = f_t \odot c_{t-1} + i_t \odot g_t$. Through this line alone
#
# $$\frac{\partial c_t}{\partial c_{t-1}}\bigg|_{\text{line}} = \mathrm{diag}(f_t),$$
#
# no matrix and no tanh: $n$ steps back it is the product of $n$ forget gates, one number for each unit. The GRU's
# $h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}$ has the same with $z$ in place of $f$. Gates also read the old
# state, which opens other roads, through $W_{hh}$, that add to this one. A gate is a sigmoid of its bias at first, so
# the line's decay per step is known before training: $\sigma(0) = 0.5$, $\sigma(1) = 0.73$, $\sigma(3) = 0.95$,
# $\sigma(5) = 0.993$.
#
# > **Predict, then run.** With $f = 0.95$ in all units, after how many steps is half of the gradient gone? And is
# > $\|\partial L/\partial c_k\|$ above or below what the line alone would leave?

# %%
BIASES = {0: "violet", 1: "ochre", 3: "gru", 5: "rose"}


def lstm_gradient(seed, bias, length=100):
    """‖∂L/∂c_k‖ by distance, ``(T,)``, whole and along the line of forget gates alone."""
    rng, cell = generator(seed, "line"), CELLS["lstm"]
    w_ih, w_hh = (rng.uniform(-(H**-0.5), H**-0.5, (4 * H, n)) for n in (I, H))
    b = np.zeros(4 * H)
    b[H : 2 * H] = bias
    x = rng.normal(size=(length, 1, I))  # (T, 1, I)
    _, cache = forward(cell, {"l0": cell.Params(w_ih, w_hh, b, np.zeros(4 * H))}, x)
    at_the_end = cell.State(h=np.zeros((1, 1, H)), c=rng.normal(size=(1, 1, H)))  # the loss looks at the last c
    dc = backward(np.zeros((length, 1, H)), cache, at_the_end).steps["l0"].c[:, 0]  # (T, H)
    f = np.array([gates.f[0] for gates in cache.scans["l0"].gates])  # (T, H)
    line = dc[-1] * np.cumprod(np.vstack([np.ones(H), f[:0:-1]]), axis=0)  # (T, H)
    return np.linalg.norm(dc[::-1], axis=1), np.linalg.norm(line, axis=1)


fig, axis = plt.subplots(figsize=(7.8, 3.4))
lines = {}
for bias, colour in BIASES.items():
    whole, line = np.mean([np.log(lstm_gradient(seed, bias)) for seed in SEEDS], axis=0)  # (T,) each, ln
    axis.plot(np.exp(whole - whole[0]), color=COLOUR[colour], label=f"forget bias {bias}")
    axis.plot(np.exp(line - line[0]), color=COLOUR[colour], linestyle=(0, (1.2, 1.8)))
    lines[bias] = [np.exp(np.polyfit(np.arange(len(whole)), logs, 1)[0]) for logs in (whole, line)]
axis.set(title="‖∂L/∂c_k‖ of an LSTM before training; dotted: the line of forget gates alone", yscale="log")
axis.set(ylim=(1e-12, 1e4), xlabel="distance T − k, steps")
axis.legend(loc="lower left", fontsize=8)
plt.show()
print("forget bias    σ(bias)    decay per step: by the line    all roads")
for bias, (whole, line) in lines.items():
    print(f"{bias:>11}{1 / (1 + np.exp(-bias)):>11.3f}{line:>29.3f}{whole:>13.3f}")

# %%
above = [str(bias) for bias, (whole, _) in lines.items() if whole > 1]
say(
    f"With f = 0.95 half is gone after {np.log(0.5) / np.log(0.95):.0f} steps. The line is a floor: what is measured "
    f"lies above it, for the roads through $W_{{hh}}$ carry gradient too, {lines[0][0]:.2f} a step against "
    f"{lines[0][1]:.2f} at a bias of 0. "
    + (f"With the gate open, at a bias of {' and '.join(above)}, all roads together exceed 1: gates do not forbid "
       f"exploding." if above else "All roads together stay below 1.")
)  # fmt: skip

# %% [markdown]
# So it is not a law of the LSTM that gradients are kept. At a bias of 0 the cell forgets half of everything at each
# step, and most of the gradient with it. What the gate gives is a *setting*: a bias that carries the gradient as far
# as one wants, whatever the weights are. (Hochreiter & Schmidhuber's LSTM of 1997 had no forget gate: its line kept
# everything. The gate of Gers et al. 2000 bought the power to forget, and Jozefowicz et al. 2015 found that a bias of
# 1 gives much back.)
#
# ## 6 · Measured, before training and through it
#
# What happens in trained networks? `gatelab study gradients` trains RNN, LSTM and GRU on **recall**: a bit at the first
# step, $T$ steps of noise, and the bit is asked for. It varies one factor at a time, start, forget bias, depth, with
# several seeds each, and takes the gradient at every step back before the first update and on the way. If a study of
# this size lies in `runs/`, this page reads it; otherwise it is run now.

# %%
import gatelab
from gatelab.core.errors import RunError
from gatelab.studies import load

root = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "notebooks").is_dir()), Path.cwd())
folder = root / "runs" / "study-gradients"
try:
    answer = load(folder)
except RunError:
    seeds = 2 if BUDGET == "quick" else None
    answer = gatelab.study("gradients", budget=BUDGET, seeds=seeds, jobs=1, backend="threading", out=folder)
findings = answer.findings
conditions = {row["label"]: row for row in findings["conditions"]}
print(
    f"T = {findings['length']}, {findings['steps']:,} steps of training, {len(conditions)} conditions, "
    f"seeds {', '.join(map(str, answer.results['seeds']))}"
)

# %% [markdown]
# > **Predict, then run.** torch's start. Which of RNN, LSTM and GRU keeps most of the gradient before training? Is the
# > LSTM better than the RNN?

# %%
answer.figures["Before and after training"]


# %%
def share(label, when="before"):
    """The decay per step of a condition in words."""
    found = conditions[label][when]
    interval = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['mean']:.2f}{interval}"


def right(label):
    """The accuracy of a condition in words."""
    return f"{conditions[label]['accuracy']['mean']:.0%}"


say(
    f"Decay per step before training: RNN {share('RNN')}, LSTM {share('LSTM')}, GRU {share('GRU')}. After it: RNN "
    f"{share('RNN', 'after')}, LSTM {share('LSTM', 'after')}, GRU {share('GRU', 'after')}. From this start they tell "
    f"the bit in {right('RNN')}, {right('LSTM')} and {right('GRU')} of the sequences; guessing gives 50 %."
)

# %% [markdown]
# At torch's start no cell is a memory: gates are half open, and half a gate is a decay of a half. What a gate *can* do
# shows when its bias says so.

# %%
answer.figures["Forget bias"]

# %%
answer.figures["The additive path"]

# %%
biased = [label for label in conditions if "forget bias" in label]
best = max(biased, key=lambda label: conditions[label]["accuracy"]["mean"])
say(
    "Accuracy on recall by forget bias: "
    + "; ".join(f"{label} {right(label)}" for label in biased)
    + f". The best of them is the {best}."
)

# %% [markdown]
# > **Predict, then run.** Which start helps the vanilla RNN? What does `randn·0.01` do to the gated cells?

# %%
answer.figures["Initialisation"]

# %%
killed = [label for label in conditions if "randn·0.01" in label]
say(
    "From randn·0.01 the decay per step is "
    + ", ".join(f"{share(label)} ({label.split(',')[0]})" for label in killed)
    + ", and the accuracy after training "
    + ", ".join(right(label) for label in killed)
    + ". The RNN's gradient is as good as gone after one step. A gated cell has a line that small weights cannot "
    "close: all its gates stand at one half, so about a half is kept at each step, whatever the weights are. That is "
    "no memory either."
)

# %% [markdown]
# Depth adds no steps in time, but each layer has its own product, and the gradient of the lowest has come through all
# above it.

# %%
answer.figures["Depth"]

# %% [markdown]
# Does the gradient before training foretell what is learned? A point for each condition.

# %%
answer.figures["What it foretells"]

# %%
told = findings["foretells"]
say(
    "Too few conditions to tell."
    if told is None
    else f"Over {told['conditions']} conditions, Spearman's ρ between how far the decay lies from 1 and the accuracy "
    f"is {told['rho']:.2f} (p = {told['p']:.2g}). A start that carries the gradient is "
    f"{'what learning needs first' if told['rho'] < 0 and told['p'] < 0.05 else 'not shown to matter here'}. Look for "
    f"points near 1 that learned nothing: it does not suffice."
)

# %% [markdown]
# And through training: what is left of the gradient, by distance and by step of training, for a network that learned.

# %%
learned = max(conditions, key=lambda label: (label in findings["maps"], conditions[label]["accuracy"]["mean"]))
answer.figures[f"Through training: {learned}"]

# %%
answer.tables["Every condition"]

# %%
say(f"**In the words of the study.** {answer.verdict}")

# %% [markdown]
# ## 7 · What was found, and what was not
#
# * The gradient of a vanilla RNN is a product of Jacobians; its spectral radius at the start foretells its decay, with
#   tanh taking off a little more.
# * "RNNs cannot learn long dependencies" is a statement about a start as much as about a cell: section 6 has an RNN
#   among the conditions that learned most, if its start lets the gradient through.
# * Gates *can* keep gradients, and do so where their bias is set for it. At torch's start they do not.
# * Clipping changes nothing about vanishing: it is for the other side.
# * Not found, because not asked: whether decays near 1 help on tasks where everything that matters is near; whether
#   the best start here is the best at other lengths (notebook 4); what happens with normalisation or skip connections.
# * One task, one width, one learning rate for all conditions. A condition that failed may work with other settings.
#
# **Exercises.**
# 1. Section 2 with ReLU in place of tanh: which gain keeps the gradient now? (He et al. 2015 have the answer for
#    layers.)
# 2. Make $W_{hh}$ orthogonal times 0.9, 1 and 1.1, without tanh: foretell the norm after 60 steps to three digits.
# 3. Write section 5 for the GRU, with $z$ for $f$. Which of its two placements of the reset gate has the longer road?
# 4. Clip each weight matrix by its own norm instead of all as one. Does the direction of the step stay the same?
# 5. Draw the forget bias of each unit so that units forget at rates from 1 to $T$ steps
#    (`init="torch+chrono:100"`, Tallec & Ollivier 2018), and add it to the study:
#    `gatelab.studies.questions.gradients`.
