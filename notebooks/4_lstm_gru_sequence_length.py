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
# # 4 · How long is too long?
#
# LSTM and GRU were made to remember. For how many steps? This page begins on paper, with the half-life of a gate,
# which says that a cell as it comes from the library forgets within a few steps. Then it asks trained networks: **at
# which length of sequence does each cell stop learning, does a start that is made for the length help, and what does
# length cost in time and memory?**
#
# You will
#
# 1. compute the half-life of what a gate keeps, and the bias that it takes to remember for $T$ steps;
# 2. draw a start in which every unit has a time scale of its own (*chrono*), and watch real gates forget;
# 3. look at four problems whose length is a knob: recall, adding, copy memory, digits by pixel;
# 4. read an experiment: where RNN, LSTM and GRU break, and how far the start moves that;
# 5. lengthen the window of a real series, and see whether that helps;
# 6. measure time and memory against length, and hold them against a count.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units; $\odot$
# multiplies entry by entry; every line that makes an array ends in its shape.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-length` is read and not run again.

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from gatelab.cells import CELLS, forward, initial_parameters, trace_of
from gatelab.core.errors import RunError
from gatelab.core.random import generator
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)

# %% [markdown]
# ## 1 · The half-life of a gate
#
# The LSTM's cell and the GRU's state have one thing in common: a gate near 1 keeps what was there.
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t \qquad\qquad h_t = z_t \odot h_{t-1} + (1 - z_t) \odot n_t$$
#
# Follow one unit, and suppose that its gate stands still at $f = \sigma(b)$. Of what the unit held, a share $f^k$ is
# left after $k$ steps. Half of it is gone after
#
# $$k_{1/2} = \frac{\ln 2}{-\ln \sigma(b)}$$
#
# steps. For large $b$, $-\ln \sigma(b) \approx e^{-b}$: the half-life grows as $e^b$, and each unit of bias multiplies
# it by $e$. The other way round: to have $f = 1 - 1/T$, which keeps $1/e$ over $T$ steps, it takes
#
# $$b = \sigma^{-1}\!\left(1 - \tfrac1T\right) = \ln(T - 1).$$
#
# torch draws all biases around 0. "Give the LSTM a forget bias of 1" is the best-known advice about it (Gers et al.
# 2000, Jozefowicz et al. 2015).
#
# > **Predict, then run.** What is the half-life at a bias of 0? How many steps more are won by a bias of 1? And which
# > bias keeps half for 100 steps: 2, 5 or 20?


# %%
def half_life(bias):
    """Steps until half is left behind a gate that stands at σ(bias)."""
    return np.log(2) / np.log1p(np.exp(-bias))


biases = np.linspace(-1, 8, 200)
fig, axis = plt.subplots(figsize=(6.6, 2.9))
axis.plot(biases, half_life(biases), color=COLOUR["lstm"])
for bias, label in ((0, "torch's start"), (1, "the advice"), (np.log(99), "ln(T − 1), T = 100")):
    steps = half_life(bias)
    axis.plot(bias, steps, "o", color=COLOUR["rose"])
    axis.annotate(f"{label}: {steps:.1f} steps", (bias, steps), (8, -11), textcoords="offset points")
axis.set(title="Half-life of what a gate keeps", xlabel="bias b of the gate that keeps", ylabel="steps", yscale="log")
plt.show()
wanted = -np.log(np.expm1(np.log(2) / 100))  # the bias at which half_life is 100
print(f"half of it is gone after {half_life(0):.1f} steps at b = 0, after {half_life(1):.1f} at b = 1")
print(f"to keep half for 100 steps it takes b = {wanted:.2f}; at b = 0 there are 2^-100 = {2.0**-100:.0e} left of it")

# %% [markdown]
# The gradient takes the same way back: along the cell, $\partial c_T / \partial c_{T-k}$ is the product of the same
# gates (notebook 2). A unit that forgets within a step also *learns* nothing of what came a hundred steps before,
# unless the network finds another way, or the weights first move to open the gate.
#
# ## 2 · A start with many time scales
#
# One bias for all units is one time scale for all. Tallec & Ollivier (2018) draw a time scale for each unit instead,
# from 1 to the longest span $T$ that one hopes to bridge (*chrono* initialisation):
#
# $$b_f \sim \ln\,\mathcal{U}(1,\ T - 1), \qquad b_i = -b_f$$
#
# The input gate's bias is the opposite, so that a unit that keeps much also writes little and does not overflow. The
# GRU needs no second bias: what its $z$ does not keep, $1 - z$ writes.
#
# A bias is not a gate: inputs and hidden states move the gate around it. So do not compute, measure: feed noise to
# new cells, multiply their gates along the way, and see how much of a state would be left.
#
# > **Predict, then run.** After 100 steps, what share is left in the mean over units: at torch's start, with a bias of
# > 1, with chrono for $T = 100$? Will the GRU differ from the LSTM?

# %%
H, T, B = 64, 300, 16
STARTS = {"torch": "grey", "torch+forget_bias:1": "ochre", "torch+chrono:100": "violet", "torch+chrono:1000": "rose"}
noise = generator(0, "noise").normal(size=(T, B, 1))  # (T, B, I)


def kept(name, init):
    """Share of a state that its gates let through, from step 0 to each later one, mean over units: ``(T,)``."""
    cell = CELLS[name]
    params = initial_parameters(cell, 1, H, generator(0, name, init), init=init)
    _, cache = forward(cell, params, noise)
    gate = trace_of(cache)["l0"][cell.keeps]  # (T, B, H)
    return np.cumprod(gate, axis=0).mean(axis=(1, 2))  # (T,)


shares = {(name, init): kept(name, init) for name in ("lstm", "gru") for init in STARTS}
fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharey=True)
for axis, name in zip(axes, ("lstm", "gru"), strict=True):
    for init, colour in STARTS.items():
        label = init.removeprefix("torch+").replace("_", " ").replace(":", " ")
        axis.plot(np.arange(1, T + 1), shares[name, init], color=COLOUR[colour], label=label)
    axis.set(title=f"{CELLS[name].title}, new, on noise", xlabel="steps", xscale="log", yscale="log", ylim=(1e-4, 1.2))
axes[0].set_ylabel("share that is left")
axes[0].legend(fontsize=8)
plt.show()
for (name, init), share in shares.items():
    print(f"{CELLS[name].title:<5} {init:<20} left after 10 steps {share[9]:8.2%}   after 100 steps {share[99]:8.2g}")

# %% [markdown]
# With one time scale the share falls exponentially: on these axes, off a cliff. With many, there are always some units
# whose time scale is as long as the span, and the sum falls slowly. Both cells behave alike here, for the same gate
# stands in both. Whether such a start helps a network to *learn* is a question for an experiment.
#
# ## 3 · Problems with a knob
#
# Four problems are the usual yardsticks of memory. In all of them the answer needs something from far back, and in
# the first three the length is a free number:
#
# - **recall** (the latching problem of Bengio et al. 1994 in its barest form): a bit is shown, $T$ steps of noise
#   follow, the bit is asked for;
# - **adding** (Hochreiter & Schmidhuber 1997): two of $T$ numbers are marked, their sum is asked for;
# - **copy memory**: ten symbols, $T$ blank steps, then all ten in order;
# - **digits**: scikit-learn's 8 × 8 pictures, read in 8 rows or in 64 single pixels.

# %%
from gatelab.studies.training_trial import task_of

LENGTHS = {"recall": {"length": 20}, "adding": {"length": 20}, "copy": {"length": 10}, "digits": {"by": "row"}}
fig, axes = plt.subplots(2, 2, figsize=(8, 3.8))
for axis, (name, options) in zip(axes.flat, LENGTHS.items(), strict=True):
    shown = task_of({"task": "problem", "source": name, **options}).definition.part("test")
    x = shown.x[:, 0].T  # (I, T) the first example
    signed = x.min() < 0
    shades = {"cmap": "PuOr" if signed else "Greys", "vmin": -2.5 if signed else 0, "vmax": 2.5 if signed else x.max()}
    axis.imshow(x, aspect="auto", interpolation="nearest", **shades)
    axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    said = ", ".join(f"{answer:.2f}".removesuffix(".00") for answer in shown.y[-10:, 0])
    axis.set(title=f"{name}: the answer is {said}", xlabel="step", yticks=[], ylabel="inputs")
    axis.grid(visible=False)
plt.show()

# %% [markdown]
# Each has a level that needs no memory: guessing the bit, always saying 1 (the mean of a sum of two numbers), blanks
# and then any symbol. To put all on one scale, take the *skill*: the share of that error that a network takes away,
#
# $$\text{skill} = 1 - \frac{\text{error}}{\text{error without memory}},$$
#
# 0 for who remembers nothing, 1 for who makes no mistake (of accuracies, the same from chance up to 1).
#
# ## 4 · Where each cell breaks
#
# `gatelab study length` trains RNN, LSTM and GRU at growing lengths, with equal parameters, equal numbers of optimizer
# steps and one learning rate, from torch's start and from chrono.
#
# > **Predict, then run.** At torch's start, which cell holds longer on adding, LSTM or GRU? (Section 1 has given them
# > the same half-life.) Where does chrono help more? Is there a length at which an RNN still works?

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
RUNS = ROOT / "runs"
FOLDER = RUNS / "study-length"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2, "cells": "lstm,gru"} if QUICK else {"budget": BUDGET}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("length", out=OUT, **size)
for paragraph in answer.study.protocol:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %%
answer.figures["How far cells hold"]

# %%
answer.tables["How far cells hold"]

# %%
rows = answer.findings["conditions"]


def interval(found, digits=2):
    """A value and its interval, as text."""
    ends = "" if found["low"] is None else f" [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    return f"{found['mean']:.{digits}f}{ends}"


def named(row):
    """A cell and its start."""
    return CELLS[row["cell"]].title + (", chrono" if row["start"] == "chrono" else "")


for source in ("recall", "adding", "copy"):
    for steps in sorted({row["steps"] for row in rows if row["source"] == source}):
        here = [row for row in rows if (row["source"], row["steps"]) == (source, steps) and row["skill"]]
        told = "; ".join(f"{named(row)} {interval(row['skill'])}" for row in here)
        print(f"{source}, T = {steps}: median skill {told}")

# %% [markdown]
# An interval of a median over a few seeds is wide where some trainings succeed and others fail: near the length at
# which a cell breaks, success is a matter of luck. That is what "breaks" looks like from near by.
#
# LSTM and GRU began with the same half-life. Where they part ways all the same, what a new gate keeps cannot be all
# that decides: the weights move, and one cell finds the open gate sooner than the other. (Exercise 5 asks why.)
#
# > **Predict, then run.** How much does the start alone change? For each cell and problem: the difference of skill
# > between chrono and torch's start, seed by seed, at the length where it is largest.

# %%
for source in ("recall", "adding", "copy"):
    for cell in answer.results["cells"]:
        mine = {(row["steps"], row["start"]): np.array(row["skills"]) for row in rows
                if (row["source"], row["cell"]) == (source, cell)}  # fmt: skip
        gains = {steps: skills - mine[steps, "torch"] for (steps, start), skills in mine.items()
                 if start == "chrono" and len(mine.get((steps, "torch"), ())) == len(skills)}  # fmt: skip
        if gains:
            steps, gain = max(gains.items(), key=lambda entry: abs(entry[1].mean()))
            print(f"{source:<7} {CELLS[cell].title:<5} at T = {steps}: skill with chrono less that without "
                  f"{gain.mean():+.2f}, by seed from {gain.min():+.2f} to {gain.max():+.2f}")  # fmt: skip

# %% [markdown]
# ### The same pictures, eight steps or sixty-four
#
# Digits are a different test: nothing hides in noise, all of the picture can help, and a clock of 64 steps is short.
#
# > **Predict, then run.** Reading pixel by pixel, which cell loses most accuracy against reading row by row?

# %%
for cell in answer.results["cells"]:
    found = {row["steps"]: row["error"] for row in rows
             if (row["source"], row["cell"], row["start"]) == ("digits", cell, "torch") and row["error"]}  # fmt: skip
    print(f"{CELLS[cell].title:<5} " + "; ".join(f"{steps} steps: accuracy {interval(found[steps], 3)}"
                                                 for steps in sorted(found)))  # fmt: skip

# %% [markdown]
# ### With more help
#
# The experiment gives every length the same thousand steps and lets no length help another. How much further one comes
# with more of both (larger networks, training on mixed lengths) is what the studies `adding` and `copy-memory` ask,
# and `digits` reads all pixels of MNIST. What they found here, where they have been run:

# %%
for name in ("adding", "copy-memory", "digits"):
    try:
        other = load(RUNS / f"study-{name}")
        print(f"{name} ({other.results['budget']}, {len(other.results['seeds'])} seeds): {other.results['headline']}\n")
    except RunError:
        print(f"{name}: not run here; gatelab study {name} does it\n")

# %% [markdown]
# ## 5 · A real series, and a longer window
#
# A forecaster's knob is the *lookback*: how many past values the network may read. A longer window holds all that a
# shorter one does, so it cannot be worse, says one argument. It gives more steps to go through, more to overfit on and
# a longer way back for the gradient, says another. The series is the oil temperature of a transformer (`etth1`),
# hourly, 24 hours ahead.
#
# > **Predict, then run.** From one day to two weeks of past: does the error fall, and for which cell?

# %%
answer.figures.get("A longer window", "etth1 is not part of this size: run gatelab study length")

# %%
for cell in answer.results["cells"]:
    mine = [row for row in rows if (row["source"], row["cell"], row["start"]) == ("etth1", cell, "torch")]
    found = {row["steps"]: row for row in mine}
    if len(found) > 1:
        short, *longer = sorted(found)
        before = found[short]["error"]["values"]
        for steps in longer:
            after = found[steps]["error"]["values"]
            change = [100 * (after[seed] / before[seed] - 1) for seed in before if seed in after]
            print(f"{CELLS[cell].title:<5} {steps} hours beside {short}: error {np.mean(change):+.1f} %, "
                  f"by seed {', '.join(f'{each:+.1f}' for each in change)}")  # fmt: skip

# %% [markdown]
# ## 6 · What length costs
#
# Count first. A step of time multiplies the same matrices whatever $T$ is, so that the time of a training step grows
# as $T$. For the way back every step has to be remembered: gates and states of $B$ sequences and $H$ units, 4 bytes
# each. An LSTM has six such numbers a unit ($i, f, g, o, c, h$), a GRU five, an RNN one. So memory grows as $T$, too.
#
# > **Predict, then run.** Is the measured power of $T$ really 1? Below, or above? (What is there besides, that does
# > not depend on $T$?)

# %%
answer.figures["What length costs"]

# %%
for cell, cost in answer.findings["costs"].items():
    powers = {name: "–" if power is None else interval(power) for name, power in cost["powers"].items()}
    print(f"{CELLS[cell].title:<5} time grows as T to the power {powers['ms']}, memory to the power "
          f"{powers['memory_mb']}; at T = {cost['steps'][-1]:.0f} {cost['ms'][-1]:.1f} ms, "
          f"{cost['memory_mb'][-1]:.1f} MB")  # fmt: skip

# %% [markdown]
# And is the count right? Ask torch what a forward pass really keeps for the way back, weights and input not counted.

# %%
import torch

from gatelab import nn
from gatelab.studies.questions.claims_trials import kept_bytes

COUNTED = {"rnn": 1, "lstm": 6, "gru": 5}
T, B, H = 200, 16, 32
for cell, layer in {"rnn": nn.RNN(H, H), "lstm": nn.LSTM(H, H), "gru": nn.GRU(H, H)}.items():
    numbers = kept_bytes(layer, torch.zeros(T, B, H)) / (4 * T * B * H)
    print(f"{CELLS[cell].title:<5} keeps {numbers:.1f} numbers a unit and step, counted {COUNTED[cell]}")

# %% [markdown]
# A power below 1 speaks of what every training step costs anyway: the optimizer, the head, Python itself. Where a cell
# keeps more than the count, its code does: on a CPU, torch's LSTM is oneDNN's, which gatelab uses too where it is the
# faster one, and that keeps a workspace of its own. The measured peak lies higher still, for the way back writes
# gradients as large as the gates.
#
# When $T$ is so long that memory is the limit, cut the way back into windows (truncated backpropagation, notebook 5):
# memory is then that of a window, and what reaches further back than a window is not learned.
#
# ## 7 · The answer, and what was not found

# %%
print(answer.verdict)

# %%
drawn = [row for row in answer.findings["holds"] if row["source"] in ("recall", "adding", "copy")]
broken = [f"{named(row)} on {row['source']}" for row in drawn if not row["steps"]]
whole = [f"{named(row)} on {row['source']} (up to {row['longest']})" for row in drawn if row["steps"] == row["longest"]]
print(f"Held at no length that was tried: {'; '.join(broken) or 'none'}")
print(f"Did not break at any: {'; '.join(whole) or 'none'}")

# %% [markdown]
# Not shown here: a limit of what a cell *can* hold. Where a network did not learn at some length within these optimizer
# steps, at this learning rate, it might with more; that it can hold a bit for as long as one likes is clear from
# section 1, with one unit and a bias set by hand. What breaks with length is learning, not memory. Nor do a few seeds
# tell two cells apart whose intervals overlap.
#
# **What to do with it.** If the answer may lie $T$ steps back, give the gate that keeps a bias for it
# (`init="torch+chrono:T"`); begin training on shorter sequences; shorten the sequence if you can (rows, not pixels);
# and look whether a longer window pays before you buy it.
#
# ## Exercises
#
# 1. *Half-lives.* Plot the histogram of half-lives of 1,000 units under chrono for $T = 1000$. Why is it so uneven on a
#    logarithmic axis, and what would a bias $\sim \mathcal{U}(0, \ln T)$ do?
# 2. *By hand.* Set the weights and biases of an LSTM with one unit so that it solves recall for every $T$. (Use
#    `gatelab.cells`, and `one_unit` of notebook 3.)
# 3. *Negative forget bias.* Repeat section 2 with `torch+forget_bias:-2` and with 5. Which of the two would you train
#    on recall at $T = 100$? Try: `gatelab study length` takes its starts from `conditions` in
#    `src/gatelab/studies/questions/length.py`.
# 4. *The other clock.* Chrono for $T = 1000$, but the problem has $T = 50$: does too long a time scale hurt? Train it.
# 5. *The same half-life.* At torch's start an LSTM also halves what it shows ($o \approx 1/2$) and what it writes
#    ($i \approx 1/2$). Train it on adding at $T = 50$ with biases that open these two, and see whether that is what
#    sets it apart from the GRU.
# 6. *Cost.* Measure the powers of section 6 at $H = 8$ and at $H = 256$. At which is the power of time nearer to 1?
