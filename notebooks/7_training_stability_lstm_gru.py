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
# # 7 · When does training go wrong, and what makes it fast?
#
# Two people train the same LSTM on the same data. One has a model after ten minutes, the other a screen full of
# `nan`. What differs are things that papers put into an appendix: learning rate, clipping, initialisation, batch size,
# optimizer, seed. This page asks of each: **when does training diverge, how fast does it get there, and which of those
# settings matter for RNN, LSTM and GRU?**
#
# You will
#
# 1. see the two ways in which training diverges, and foretell from the curvature at which learning rate;
# 2. clip gradients, and find out why Adam seems not to care, and when it does;
# 3. read maps of learning rate × clipping over many runs, and rates of divergence with their intervals;
# 4. see what start and batch size change;
# 5. take a Gauss–Newton step, without ever making its matrix;
# 6. let eight optimizers race, at equal time.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $H$ hidden units; here also $\theta$ for all $P$
# numbers that are learned, $g = \partial L / \partial \theta$ for the gradient and $\eta$ for the learning rate.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-stability` is read and not run again.

# %%
import os
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from matplotlib.colors import LinearSegmentedColormap
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn import functional

from gatelab.cells import CELLS
from gatelab.core.config import ModelConfig
from gatelab.nn import LSTM, recurrent
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study
from gatelab.studies.questions.stability_names import NAMES, entry_name, start
from gatelab.studies.questions.stability_trial import Watched
from gatelab.studies.statistics import bootstrap
from gatelab.studies.training_trial import model_of, task_of
from gatelab.training.hessian_free import conjugate_gradients, gauss_newton
from gatelab.training.optimizers import Objective, optimizer

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)
CELL_NAMES = ("rnn", "lstm", "gru")

# %% [markdown]
# ## 1 · Two ways to diverge
#
# **The step is too long.** Near some weights, and in the direction in which the loss is curved by $\lambda$, gradient
# descent on $L = \tfrac12 \lambda\,\theta^2$ gives
#
# $$\theta \leftarrow \theta - \eta \lambda\,\theta = (1 - \eta\lambda)\,\theta,$$
#
# which shrinks where $\eta < 2/\lambda$, and swings further and further out where $\eta > 2/\lambda$. This has nothing
# to do with time or recurrence: one direction that is sharply curved sets the pace for all.
#
# **The gradient is too long.** A recurrent network multiplies the gradient by a Jacobian once a step (notebook 2):
#
# $$\frac{\partial L_T}{\partial h_k} = \frac{\partial L_T}{\partial h_T} \prod_{t=k+1}^{T} \frac{\partial h_t}{\partial
# h_{t-1}}, \qquad \Big\|\frac{\partial h_t}{\partial h_{t-1}}\Big\| \le \gamma\,\|W_{hh}\|,$$
#
# with $\gamma$ the steepest slope of the squashing function, 1 for tanh. Where $\gamma\|W_{hh}\| < 1$ the product must
# vanish; that the largest singular value exceeds $1/\gamma$ is necessary for it to explode, and not sufficient
# (Pascanu et al. 2013, section 2.1). So whether it does has to be measured: here with torch's start, its recurrent
# weights multiplied by a *gain*.
#
# > **Predict, then run.** In which cell does the gradient begin to explode at the lowest gain? Does that of a gated
# > cell never explode?


# %%
def gradient_norm(cell, gain, T, seed, H=32, B=16):
    """‖∂L/∂θ‖ of a network that was just drawn, its recurrent weights times ``gain``; L reads the last state alone."""
    torch.manual_seed(seed)
    network = recurrent(ModelConfig(cell=cell, hidden_size=H), 4)
    with torch.no_grad():
        network.get_parameter("weight_hh_l0").mul_(gain)
    output, _ = network(torch.randn(T, B, 4))  # (T, B, H)
    (output[-1] * torch.randn(B, H)).sum(1).mean().backward()
    return float(nn.utils.get_total_norm([p.grad for p in network.parameters()]))


gains, lengths = np.geomspace(0.5, 16, 6 if QUICK else 16), np.arange(10, 101, 30 if QUICK else 10)
SHADES = LinearSegmentedColormap.from_list("norm", ["#fcfcfa", "#f2c9a8", COLOUR["rnn"], "#5a2402"])
fig, axes = plt.subplots(1, 3, figsize=(9, 2.9), sharey=True)
for axis, cell in zip(axes, CELL_NAMES, strict=True):
    norms = [[np.mean([np.log10(gradient_norm(cell, gain, T, seed)) for seed in range(1 if QUICK else 3)])
              for T in lengths] for gain in gains]  # fmt: skip
    norms = np.nan_to_num(norms, nan=38, posinf=38)  # what is larger than float32 holds
    image = axis.pcolormesh(lengths, gains, norms, cmap=SHADES, vmin=0, vmax=6, shading="nearest", rasterized=True)
    axis.contour(lengths, gains, norms, levels=[2], colors=[COLOUR["ink"]], linewidths=1)
    axis.set(title=CELLS[cell].title, xlabel="length T", yscale="log", yticks=[0.5, 1, 2, 4, 8, 16])
    axis.set_yticklabels(["0.5", "1", "2", "4", "8", "16"])
    axis.minorticks_off()
    axis.grid(visible=False)
axes[0].set_ylabel("gain of the recurrent weights")
fig.colorbar(image, ax=axes, label="log10 of the gradient's norm", pad=0.01, extend="max")
plt.show()

# %% [markdown]
# At the black line the norm is 100, and in the dark it no longer says anything. Gates raise the gain at which it
# begins, and do not abolish it. Longer sequences lower it. And training moves weights: a network that starts in the
# white may walk into the dark.
#
# ### Foretelling the learning rate
#
# Which of the two is at work in practice? The first one can be computed. The largest curvature $\lambda_1$ of the loss
# on real digits, read row by row, is the largest eigenvalue of the Gauss–Newton matrix of section 5, found from
# products $G v$ alone (Lanczos). If the long step is what counts, plain SGD diverges near $\eta = 2/\lambda_1$.


# %%
DIGITS = {"task": "problem", "source": "digits", "by": "row", "parameters": 3000, "init": "torch"}


def sharpness(watched):
    """The largest eigenvalue of the Gauss–Newton matrix over 512 digits."""
    batch = next(iter(watched.task.batches("train", 512)))
    objective, weights = watched.objective(batch), list(watched.network.parameters())
    product = gauss_newton(objective.outputs(), objective.loss_of, weights)
    size = sum(weight.numel() for weight in weights)
    matrix = LinearOperator((size, size), lambda v: product(torch.tensor(v.ravel(), dtype=torch.float32)).numpy(),
                            dtype=np.float32)  # fmt: skip
    return float(eigsh(matrix, k=1, v0=np.ones(size, np.float32), tol=1e-3, return_eigenvectors=False)[0])


def before_and_after(cell, seed, steps=60 if QUICK else 150):
    """Sharpness of a new network, and of the same after ``steps`` of plain SGD at 0.1."""
    torch.manual_seed(seed)
    task = task_of(DIGITS | {"cell": cell})
    watched = Watched(task, task.build(model_of(task, DIGITS | {"cell": cell})))
    first, method = sharpness(watched), optimizer("sgd", watched.network, 0.1)
    rng, taken = np.random.default_rng(seed), 0
    while taken < steps:
        for batch in task.batches("train", 32, rng):
            method.step(watched.objective(batch))
            taken += 1
    return first, sharpness(watched)


sharp = {cell: [before_and_after(cell, seed) for seed in range(2 if QUICK else 5)] for cell in CELL_NAMES}
for cell, pairs in sharp.items():
    for moment, found in zip(("at the start", "after training"), zip(*pairs, strict=True), strict=True):
        rate = bootstrap([2 / value for value in found])
        ends = "" if rate.low is None else f" [{rate.low:.2g}, {rate.high:.2g}]"
        print(f"{CELLS[cell].title:<5}{moment:<15} λ₁ = {np.median(found):6.2f}, so SGD should diverge "
              f"above a rate of {rate.mean:.2g}{ends}")  # fmt: skip

# %% [markdown]
# Two numbers for each cell, since the curvature is no constant: where a network learns, it tends to rise. A rate that
# is safe at the start need not stay so. Keep both: section 3 has the rates at which training did diverge.
#
# ## 2 · Clipping
#
# Against a gradient that is too long Pascanu et al. (2013) keep its direction and cut its length:
#
# $$g \leftarrow g\,\min\!\left(1, \frac{c}{\|g\|}\right)$$
#
# With plain SGD no step is then longer than $\eta c$, so weights cannot be thrown away by one bad batch. But mark what
# the rule does not do. If *every* gradient is longer than $c$, it is a lower learning rate by another name. And it
# bounds a step, not a sum of steps: where $\eta c$ itself is too long, training still goes wrong, only more slowly.
#
# Adam divides each gradient by a running root mean square of it, and so does not care how long gradients are:
# multiply all by a thousand, and nothing changes. Courses conclude that it needs no clipping.
#
# > **Predict, then run.** A gradient is 1 at every step, with some noise. At step 100 one batch gives 1,000. For how
# > many steps does Adam feel it: 1, about 10, or about 1,000?


# %%
def adam_steps(gradients, clip=None, rate=0.01):
    """How far Adam moves its one weight at each step, in learning rates: ``(N,)``."""
    weight = torch.zeros(1, requires_grad=True)
    adam, places = torch.optim.Adam([weight], lr=rate), [0.0]
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float32)
        if clip is not None:
            nn.utils.clip_grad_norm_([weight], clip)
        adam.step()
        places.append(float(weight.detach()))
    return -np.diff(places) / rate  # (N,)


gradients = 1 + 0.3 * np.random.default_rng(0).standard_normal(1000)  # (N,)
gradients[99] = 1000
ways = {"not clipped": (adam_steps(gradients), "rose"), "clipped at 2": (adam_steps(gradients, 2.0), "gru")}
fig, axis = plt.subplots(figsize=(7.2, 2.7))
for label, (steps, colour) in ways.items():
    axis.plot(np.arange(1, 1001), steps, color=COLOUR[colour], label=label)
axis.set(title="Adam's step, beside its learning rate, when one gradient in a thousand is huge", xlabel="step",
         ylabel="step / learning rate", ylim=(0, None))  # fmt: skip
axis.legend()
plt.show()
slow = {label: int((steps[100:] < 0.5).sum()) for label, (steps, _) in ways.items()}
print(f"steps at less than half speed after it: {slow['not clipped']} not clipped, {slow['clipped at 2']} clipped")

# %% [markdown]
# It is forgotten by Adam's mean ($\beta_1 = 0.9$) within tens of steps, and by its root mean square
# ($\beta_2 = 0.999$) only after thousands. So Adam does not explode, it *stalls*. That is what clipping does for Adam.
#
# ## 3 · The experiment
#
# `gatelab study stability` trains thousands of small networks, most of them with settings that no one would choose,
# because the question is where the edge lies.
#
# > **Predict, then run.** Plain SGD without clipping, learning rates from 0.03 to 10: which share of the trainings
# > diverges in RNN, LSTM and GRU? And clipped at norm 1?

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
FOLDER = ROOT / "runs" / "study-stability"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2, "cells": "lstm"} if QUICK else {"budget": BUDGET}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("stability", out=OUT, **size)
findings = answer.findings
for paragraph in answer.study.protocol:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']:,} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %% [markdown]
# ### Loss curves over many runs
#
# One curve in a paper is one draw. Here is every run with the usual settings, Adam at 0.01 and clipped at norm 1.

# %%
sources = list(dict.fromkeys(each["source"] for each in findings["curves"]))
fig, axes = plt.subplots(1, len(sources), figsize=(4.6 * len(sources), 2.9), squeeze=False)
for axis, source in zip(axes[0], sources, strict=True):
    for each in (each for each in findings["curves"] if each["source"] == source):
        runs = np.array(each["losses"], dtype=float)  # (runs, looks)
        axis.plot(each["steps"], runs.T, color=COLOUR[each["cell"]], linewidth=0.5, alpha=0.45)
        axis.plot(each["steps"], np.median(runs, axis=0), color=COLOUR[each["cell"]], linewidth=2,
                  label=CELLS[each["cell"]].title)  # fmt: skip
    axis.axhline(1, color=COLOUR["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set(title=f"{source}: every run, and the median", xlabel="step", yscale="log")
axes[0, 0].set_ylabel("held-out loss / chance")
axes[0, 0].legend()
plt.show()

# %% [markdown]
# ### Learning rate × clipping
#
# Blue has learned, white is chance, orange is worse than knowing nothing; grey broke off. Read the rows in pairs: what
# does clipping rescue, and what does it cost?

# %%
for name, figure in answer.figures.items():
    if name.startswith("Loss by learning rate"):
        display(figure)

# %% [markdown]
# ### How often, with an interval
#
# > **Predict, then run.** Nine runs, none diverged. How large may the rate still be?

# %%
for name, figure in answer.figures.items():
    if name.startswith("Rates of divergence"):
        display(figure)


# %%
def points(gap):
    """A difference of two rates, in percentage points."""
    found = {end: None if gap["units"][end] is None else 100 * gap["units"][end] for end in ("mean", "low", "high")}
    ends = "" if found["low"] is None else f" [{found['low']:+.0f}, {found['high']:+.0f}]"
    return f"{found['mean']:+.0f} points{ends}{'' if gap['found'] else ', no difference found'}"


print(f"{answer.results['headline']}\n")
print("What diverges without clipping, less what diverges clipped at norm 1:")
for gap in findings["clipping"]:
    print(f"   {gap['source']:<8}{CELLS[gap['cell']].title:<6}{NAMES[gap['optimizer']]:<6}{points(gap)}")
print("Cells beside each other, without clipping:")
for gap in findings["cells"]:
    pair = f"{CELLS[gap['a']].title} less {CELLS[gap['b']].title}"
    print(f"   {gap['source']:<8}{pair:<16}{NAMES[gap['optimizer']]:<6}{points(gap)}")

# %% [markdown]
# Clipping is meant against divergence. Does it ever do the opposite?

# %%
for gap in findings["clipping"]:
    if gap["units"]["mean"] < 0:
        rates = {row["clip"]: row["diverged"] for row in findings["divergence"]
                 if all(row[name] == gap[name] for name in ("source", "cell", "optimizer"))}  # fmt: skip
        counts = {clip: f"{round(rate['mean'] * rate['count'])} of {rate['count']}" for clip, rate in rates.items()}
        print(f"{CELLS[gap['cell']].title} on {gap['source']} with {NAMES[gap['optimizer']]}: {counts['1']} runs "
              f"diverged clipped, {counts['none']} not clipped; {'found' if gap['found'] else 'not found'} beyond "
              f"chance once all comparisons count (p = {gap['p']:.3f}, corrected {gap['p_holm']:.3f})")  # fmt: skip

# %% [markdown]
# If there is such a line, section 2 has a guess at the reason: at a learning rate that is far too high, a huge gradient
# makes Adam stall, and a network that stands still at chance has not diverged. Clipping takes that brake away. It is a
# guess, and exercise 6 can test it.
#
# Now look back at section 1, whose curvature foretold a learning rate.

# %%
for found in (each for each in findings["maps"] if each["optimizer"] == "sgd" and each["source"] == "digits"):
    for row, diverged, loss in zip(found["rows"], found["diverged"], found["loss"], strict=True):
        if row["clip"] == "none":
            safe = [rate for rate, share in zip(found["rates"], diverged, strict=True) if share == 0]
            best = found["rates"][int(np.argmin([np.inf if value is None else value for value in loss]))]
            first, later = (np.median([2 / pair[at] for pair in sharp[row["cell"]]]) for at in (0, 1))
            print(f"{CELLS[row['cell']].title:<5} foretold {first:.2g} at the start, {later:.2g} after training; "
                  f"no run diverged at {', '.join(f'{rate:g}' for rate in safe) or 'any rate'}; "
                  f"lowest loss at {best:g}")  # fmt: skip

# %% [markdown]
# Theory gives the order of magnitude, and the order of the cells. It cannot give more: a rate above the limit need not
# break off, for the slope of cross-entropy is bounded, and weights may swing until they find a place where the loss is
# less curved (Cohen et al. 2021 call it the edge of stability). Squared error has no such bound. On adding, what is
# above the limit, and is not clipped, ends in numbers that are not finite.
#
# ### How fast
#
# > **Predict, then run.** Which cell has learned after the fewest steps, and is that a difference beyond chance?

# %%
answer.figures.get("Steps to learn")

# %%
for speed in findings["speed"]:
    for cell, found in speed["cells"].items():
        median = f"{found['median']} steps" if found["median"] is not None else f"more than {speed['last']} steps"
        learned = found["learned"]
        print(f"{speed['source']:<8}{CELLS[cell].title:<5} half of the runs have learned after {median}; "
              f"{100 * learned['mean']:.0f} % [{100 * learned['low']:.0f}, {100 * learned['high']:.0f}] of "
              f"{learned['count']} learned at all")  # fmt: skip
    for gap in speed["beside"]:
        word = "a difference" if gap["found"] else "no difference found"
        p = f"= {gap['p_holm']:.3f}" if gap["p_holm"] >= 0.001 else "< 0.001"
        print(f"{speed['source']:<8}{CELLS[gap['a']].title} and {CELLS[gap['b']].title}: {word} "
              f"(log-rank test, corrected p {p})")  # fmt: skip

# %% [markdown]
# Runs that never learn have no number of steps, and a mean over "those that did" would flatter the cell that diverges
# most. The log-rank test counts them as what they are: not there by the last step.
#
# ## 4 · Start and batch size
#
# > **Predict, then run.** `randn * 0.01`, the start of many tutorials: for which cell is it a bad idea? Then: 8, 32 or
# > 512 examples in a batch, after equally many *steps*: which is ahead?

# %%
for name, figure in answer.figures.items():
    if name.startswith(("Starts", "Batch sizes")):
        display(figure)

# %%
for kind in ("starts", "batches"):
    for group in findings[kind]:
        for gap in group["gaps"]:
            low, high = gap["units"]["low"], gap["units"]["high"]
            ends = "" if low is None else f" [{10**low:.2f}, {10**high:.2f}]"
            word = "" if gap["found"] else ", no difference found"
            name = start(gap["a"]) if kind == "starts" else f"batches of {gap['a']}"
            print(f"{group['source']:<8}{CELLS[group['cell']].title:<6}{name:<15} the usual loss × "
                  f"{10 ** gap['units']['mean']:.2f}{ends}{word}")  # fmt: skip

# %% [markdown]
# Equal steps favour large batches, for they see more examples; equal *examples* would favour small ones. Say which one
# you mean. Exercise 4 asks for the other.
#
# ## 5 · A step that knows the curvature
#
# Section 1 said that the sharpest direction sets the pace for all. How much does that cost? Let $z$ be what the
# network says, $J = \partial z / \partial\theta$, and $H_L = \partial^2 L / \partial z^2$. The **Gauss–Newton matrix**
# $G = J^\top H_L J$ is the Hessian without the network's own curvature, and never indefinite. Its step makes the
# damped quadratic model least:
#
# $$q(\delta) = g^\top \delta + \tfrac12\,\delta^\top (G + \lambda I)\,\delta
# \qquad\Longrightarrow\qquad (G + \lambda I)\,\delta = -g$$
#
# With $P$ weights $G$ has $P^2$ entries, so nobody makes it. Conjugate gradients need $G v$ alone, and that costs
# about as much as two gradients: $J v$, then $H_L$ times it, then $J^\top$ times that (Schraudolph 2002; Martens 2010).
# Here is a network that is small enough to make the matrix all the same.
#
# > **Predict, then run.** Of its $P$ directions, which share is curved at least a hundredth as much as the sharpest
# > one: most, a tenth, or fewer?

# %%
T, B, H = 10, 64, 4


class Net(nn.Module):
    """An LSTM of four units whose last state is read."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = LSTM(2, H), nn.Linear(H, 1)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])[:, 0]  # (B,)


def adding(seed):
    """Numbers and marks ``(T, B, 2)``, and the sum of the two that are marked ``(B,)``."""
    rng = np.random.default_rng(seed)
    numbers, marks = rng.random((T, B)), np.zeros((T, B))  # (T, B) each
    for item in range(B):
        marks[rng.choice(T, 2, replace=False), item] = 1
    x = np.stack([numbers, marks], axis=2)  # (T, B, 2)
    return torch.tensor(x, dtype=torch.float64), torch.tensor((numbers * marks).sum(0))


x, y = adding(0)
torch.manual_seed(0)
net = Net().double()
weights = list(net.parameters())
loss_of = lambda z: functional.mse_loss(z, y)  # noqa: E731
product = gauss_newton(net(x), loss_of, weights)
P = sum(weight.numel() for weight in weights)
G = torch.stack([product(row) for row in torch.eye(P, dtype=torch.float64)]).numpy()  # (P, P)
curvatures = np.sort(np.linalg.eigvalsh(G))[::-1]  # (P,)
g = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss_of(net(x)), weights)])  # (P,)


fig, axes = plt.subplots(1, 2, figsize=(9, 2.8))
axes[0].semilogy(np.arange(1, B + 1), curvatures[:B], color=COLOUR["lstm"])
axes[0].axhline(curvatures[0] / 100, color=COLOUR["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
axes[0].annotate("a hundredth of the sharpest", (B, curvatures[0] / 100), ha="right", va="bottom", fontsize=8,
                 color=COLOUR["muted"])  # fmt: skip
axes[0].set(title=f"The {B} sharpest of {P} directions", xlabel="direction", ylabel="eigenvalue of G")
COUNTS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
for damping, colour in ((1e-1, "sky"), (1e-3, "violet"), (1e-5, "rose")):
    damped = lambda v, d=damping: product(v) + d * v  # noqa: E731
    exact = torch.linalg.solve(torch.tensor(G) + damping * torch.eye(P).double(), -g)  # (P,)
    least = float(0.5 * g @ exact)  # q at its least
    ends = [conjugate_gradients(damped, -g, torch.zeros(P).double(), count)[-1] for count in COUNTS]
    axes[1].loglog(COUNTS, [max(1 - q / least, 1e-12) for _, q in ends], color=COLOUR[colour], marker="o", markersize=3,
                   label=f"λ = {damping:g}")  # fmt: skip
axes[1].set(title="Share of q's fall still to come", xlabel="rounds of conjugate gradients", xticks=COUNTS)
axes[1].set_xticklabels(COUNTS)
axes[1].minorticks_off()
axes[1].legend()
plt.show()
print(f"curved at least a hundredth as much as the sharpest: {(curvatures >= curvatures[0] / 100).sum()} of {P}")
print(f"flat but for rounding: {(curvatures < 1e-12 * curvatures[0]).sum()} of {P}")

# %% [markdown]
# Next to no direction is as sharp as the sharpest, and gradient descent crosses direction $i$ $\lambda_1/\lambda_i$
# times more slowly. Many are flat altogether: $G = J^\top H_L J$, and a batch of $B$ examples with one answer each can
# curve no more than $B$ of them. Conjugate gradients want many rounds where the damping $\lambda$ is small and few
# where it is large: damping buys cheap steps by making them short. Hessian-free optimization starts with
# $\lambda = 1$, and moves it by how well $q$ foretold the loss (Levenberg and Marquardt's rule).
#
# > **Predict, then run.** The same network, one batch: forty steps of L-BFGS and of Hessian-free optimization, and as
# > many of plain SGD and Adam as you like. Who gets furthest by steps, who by time?

# %%
MANY = 100 if QUICK else 1000
RACERS = {"sgd": (0.3, MANY, "grey"), "adam": (0.02, MANY, "sky"), "lbfgs": (1.0, 40, "violet"),
          "hessian_free": (1.0, 40, "rose")}  # fmt: skip
fig, axes = plt.subplots(1, 2, figsize=(9, 2.9), sharey=True)
cost = {}
for name, (rate, steps, colour) in RACERS.items():
    torch.manual_seed(0)
    small = Net()
    objective = Objective(lambda small=small: small(x.float()), lambda z: functional.mse_loss(z, y.float()))
    method = optimizer(name, small, rate)
    method.step(objective)  # what is loaded at the first step is no part of its time
    losses, begun = [], time.thread_time()
    for _ in range(steps):
        losses.append(method.step(objective).loss)
    cost[name] = (time.thread_time() - begun) / steps
    axes[0].semilogy(range(1, 41), losses[:40], color=COLOUR[colour], label=NAMES[name])
    axes[1].loglog(1000 * cost[name] * np.arange(1, steps + 1), losses, color=COLOUR[colour])
axes[0].set(title="By step", xlabel="step", ylabel="squared error on the batch")
axes[1].set(title="By time", xlabel="milliseconds of one core")
axes[0].legend()
plt.show()
print("a step takes " + ", ".join(f"{NAMES[name]} {1000 * each:.1f} ms" for name, each in cost.items()))

# %% [markdown]
# By step curvature wins; by time it depends on what a step costs. And on *one* batch an optimizer may believe
# everything it sees. In training the next batch says something else, and what was learned about the curvature of the
# last one is partly noise. So the question needs a race.
#
# ## 6 · Eight optimizers, equal time
#
# > **Predict, then run.** Held-out loss after a second or so of one core each: who is ahead, and does clipping help
# > where every method chose its learning rate with it?

# %%
for name, figure in answer.figures.items():
    if name.startswith("Optimizers"):
        display(figure)

# %%
answer.tables["Every optimizer"]

# %%
for race in findings["optimizers"]:
    print(f"{race['source']}, {CELLS[race['cell']].title}, {race['limit']:g} s; test loss beside that of Adam, clipped "
          "at norm 1:")  # fmt: skip
    for gap in sorted(race["beside"], key=lambda gap: gap["units"]["mean"]):
        low, high = gap["units"]["low"], gap["units"]["high"]
        ends = "" if low is None else f" [{10**low:.2f}, {10**high:.2f}]"
        print(f"   {entry_name(gap['a']):<24} × {10 ** gap['units']['mean']:.2f}{ends}"
              f"{'' if gap['found'] else ', no difference found'}")  # fmt: skip

# %% [markdown]
# A ratio of 1 is as good as Adam, below 1 is better. Time, not steps, is what is equal here: a step of L-BFGS or of
# Hessian-free optimization costs tens of gradients. Where a step is dearer (long sequences, wide layers) the balance
# may be another one.
#
# ## 7 · The answer, and what was not found

# %%
print(answer.verdict)

# %%
asked = {
    "clipping and divergence": findings["clipping"],
    "cells and divergence": findings["cells"],
    "cells and steps to learn": [gap for speed in findings["speed"] for gap in speed["beside"]],
    "starts": [gap for group in findings["starts"] for gap in group["gaps"]],
    "batch sizes": [gap for group in findings["batches"] for gap in group["gaps"]],
    "optimizers beside Adam": [gap for race in findings["optimizers"] for gap in race["beside"]],
    "clipping where the rate was chosen with it": [gap for race in findings["optimizers"] for gap in race["clipping"]],
}
print("No difference was found in")
for about, gaps in asked.items():
    print(f"   {sum(not gap['found'] for gap in gaps)} of {len(gaps)} comparisons of {about}")

# %% [markdown]
# What this cannot say: networks of 3,000 weights trained for seconds say where edges lie and why, not where yours is.
# "No difference found" with three to nine runs means that a difference would have to be large to be seen; the
# intervals say how large. Rates of divergence are those of the learning rates on these maps, and of no others.
#
# **In practice.** Choose the learning rate before everything else, on a logarithmic grid, and with more than one seed
# near the edge. Clip where steps are as long as gradients are, as with plain SGD; with Adam do not take for granted
# that it helps. Look at the gradient's norm *before* clipping: if nearly every one is clipped, it is the limit that is
# your learning rate.
#
# ## Exercises
#
# 1. Section 1 draws the gradient's norm at torch's start. Repeat it with `init="orthogonal"` (a setting of
#    `ModelConfig`). At which gain does the vanilla RNN now begin to explode, and why just there?
# 2. Clip each weight's gradient to ±c instead of the norm (`nn.utils.clip_grad_value_`). Find a gradient whose
#    *direction* that changes by more than 45 degrees.
# 3. In section 2 set Adam's $\beta_2$ to 0.9 and to 0.9999. How long does it stall now, and what does one pay?
# 4. Redraw the batch sizes at equal *examples*: the curves are in the trials' records, `runs/study-stability`.
# 5. Damping: run the Hessian-free steps of section 5 with `HessianFree(weights, damping=1e-6)` and with `damping=100`.
#    Which one recovers, and how many steps does the rule for $\lambda$ need?
# 6. Run `gatelab study stability --cells rnn --seeds 9 --out runs/stability-rnn`. Which intervals become narrower, and
#    by which factor? Does Adam, clipped, still diverge more often?
