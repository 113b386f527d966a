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
# # 8 · One layer or many?
#
# Recurrent layers can be put on one another: each reads, at every step, what the one below it shows. Courses say
# that deeper is better until it overfits. This page takes that sentence apart: **is it depth that helps, or only that
# more layers are more parameters; what does a layer cost; and when deep networks do badly, is it overfitting?**
#
# You will
#
# 1. count what a layer adds, and how narrow a deep network becomes when it may not have more parameters;
# 2. follow the gradient down through eight layers, with and without residual connections;
# 3. read an experiment with 1 … 8 layers, at equal width and at equal parameters;
# 4. see what residual connections and dropout mend, and what they do not.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units; $L$ is the number
# of layers.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-depth` is read and not run again.

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

from gatelab.cells import CELLS, parameter_count
from gatelab.core.config import ModelConfig
from gatelab.nn import recurrent
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study
from gatelab.studies.statistics import bootstrap

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)

# %% [markdown]
# ## 1 · What a layer is, and what it adds
#
# Layer $l$ reads the hidden states of the layer below it; the lowest reads the input, $h^{(0)}_t = x_t$:
#
# $$h^{(l)}_t,\ c^{(l)}_t = \mathrm{LSTM}^{(l)}\!\left(h^{(l-1)}_t,\ h^{(l)}_{t-1},\ c^{(l)}_{t-1}\right)
# \qquad l = 1, \dots, L$$
#
# A network is now deep in two directions: in time, $T$ steps, and in space, $L$ layers. An LSTM's first layer has
# $4H(I + H + 2)$ numbers to learn, every further one $4H(2H + 2)$. So at equal *width* $H$ more layers are also more
# parameters, and whoever finds that "depth helps" may have found that size helps. At equal *parameters* each layer
# has to be narrower.
#
# > **Predict, then run.** One layer of 32 units reads 8 inputs. With eight layers and no more parameters than that,
# > how many units does each have: 16, 10 or 4?


# %%
def parameters(H, L, I=8):  # noqa: E741
    """Numbers that ``L`` LSTM layers of ``H`` units learn: the first reads I inputs, the others H."""
    lstm = CELLS["lstm"]
    return parameter_count(lstm, I, H) + (L - 1) * parameter_count(lstm, H, H)


budget = parameters(32, 1)
depths = np.arange(1, 9)
narrow = [min(range(1, 200), key=lambda H, L=L: abs(parameters(H, L) - budget)) for L in depths]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
axes[0].plot(depths, [parameters(32, L) / 1000 for L in depths], color=COLOUR["lstm"])
axes[0].set(title="Equal width: H = 32", xlabel="layers L", ylabel="thousand parameters", ylim=(0, None))
axes[1].plot(depths, narrow, color=COLOUR["violet"])
axes[1].set(title=f"Equal parameters: {budget:,}", xlabel="layers L", ylabel="units of a layer H", ylim=(0, None))
plt.show()
print(f"at equal width 8 layers have {parameters(32, 8) / budget:.1f} times the parameters of one")
print(f"at equal parameters 8 layers have {narrow[-1]} units each")

# %% [markdown]
# ## 2 · The gradient on its way down
#
# In time, an LSTM has a path on which little stands in the gradient's way: the cell, $c' = f \odot c + i \odot g$.
# In space it has none. From layer to layer the signal passes through $h = o \odot \tanh(c)$, where $o$ is about a half
# at the start, and through a matrix of small random numbers. A residual connection (He et al. 2016; for recurrent
# layers Wu et al. 2016) gives space such a path, too:
#
# $$y^{(l)}_t = y^{(l-1)}_t + h^{(l)}_t$$
#
# > **Predict, then run.** Eight layers, torch's start, nothing trained yet. Compared with the top layer, what share of
# > the gradient reaches the weights of the second one from below: a half, a tenth or a thousandth? And with
# > residual connections?


# %%
def gradient_by_layer(residual, seed, L=8, H=32, T=40, B=16):
    """‖∂loss/∂weight_hh‖ of each layer, lowest first, of a network that was just drawn: ``(L,)``."""
    torch.manual_seed(seed)
    network = recurrent(ModelConfig(cell="lstm", hidden_size=H, num_layers=L, residual=residual), 8)
    output, _ = network(torch.randn(T, B, 8))  # (T, B, H)
    (output[-1] * torch.randn(B, H)).sum().backward()
    return np.array([float(p.grad.norm()) for name, p in network.named_parameters() if "weight_hh" in name])


SEEDS = range(5 if QUICK else 20)
norms = {residual: np.array([gradient_by_layer(residual, seed) for seed in SEEDS]) for residual in (False, True)}
fig, axis = plt.subplots(figsize=(6.6, 2.9))
shares = {}
for residual, colour, label in ((False, "rose", "plain"), (True, "gru", "residual")):
    relative = norms[residual] / norms[residual][:, -1:]  # (seeds, L) beside the top layer
    axis.plot(depths, np.median(relative, axis=0), color=COLOUR[colour], marker="o", label=label)
    axis.fill_between(depths, relative.min(axis=0), relative.max(axis=0), color=COLOUR[colour], alpha=0.2, linewidth=0)
    shares[label] = bootstrap(list(relative[:, 1]))
axis.set(title="Gradient of each layer's weights beside the top layer's", xlabel="layer, lowest first", yscale="log")
axis.legend()
plt.show()
for label, share in shares.items():
    print(f"{label:<9} the second layer gets {share.mean:.2g} [{share.low:.2g}, {share.high:.2g}] of the top layer's")

# %% [markdown]
# This is a vanishing gradient again, not over time as in notebook 2, but over layers. Adam divides each gradient by its
# own size, so that small ones are no disaster in themselves. But what the upper layers pass on *forwards* fades just as
# much, and a loss that hardly depends on the input cannot tell the lower layers what to do. Whether it matters is for
# an experiment to say.
#
# ## 3 · The experiment
#
# `gatelab study depth` trains networks of up to eight layers on two small sets of data, on which overfitting can be
# seen: the chorales of J. S. Bach (which of 88 keys sound next), and the weather of Seattle (a week of maximum
# temperatures). Every network stands there twice, at equal width and at equal parameters; every condition chooses its
# learning rate on the validation part, with a seed of its own; the weights of the best epoch are scored.
#
# > **Predict, then run.** Eight layers beside one: better or worse, at equal width and at equal parameters? And is
# > their training error lower?

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
FOLDER = ROOT / "runs" / "study-depth"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2} if QUICK else {"budget": BUDGET}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("depth", out=OUT, **size)
for paragraph in answer.study.protocol:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %%
answer.tables["Every condition"]

# %%
answer.figures["Error and depth"]

# %%
groups = answer.findings["groups"]


def percent(gap):
    """A difference in percent with its interval, and whether chance in training explains it."""
    found = gap["percent"]
    ends = "" if found["low"] is None else f" [{found['low']:+.1f}, {found['high']:+.1f}]"
    return f"{found['mean']:+.1f} %{ends}{'' if gap['found'] else ', no difference found'}"


print(f"{answer.results['headline']}\n")
for group in groups:
    print(f"{CELLS[group['cell']].title} on {group['data']}, error ({group['metric']}) beside one layer:")
    for basis, gaps in group["deeper"].items():
        for gap in gaps:
            print(f"   equal {basis:<10} {gap['a']} layers: {percent(gap)}")

# %% [markdown]
# (An interval that leaves out zero may stand beside *no difference found*: who makes several comparisons must ask more
# of each, and the tests are corrected for that by Holm's method.)
#
# The two tables answer two questions. At equal width: *do I gain if I add layers and pay for them?* At equal
# parameters: *given what I am willing to pay, is it better spent on depth?* A sentence such as "deeper is better"
# that does not say which one it means says little.
#
# ## 4 · Is it overfitting?
#
# A network that overfits has a low training error and a high test error. One that cannot be trained has two high ones.
# Both are called "too deep", and the remedies are opposite.
#
# > **Predict, then run.** Where eight plain layers are worse than one: is their *training* error lower or higher?

# %%
answer.figures["Test and training error"]

# %%
for group in groups:
    plain = [row for row in group["rows"] if row["basis"] == "width" and row["remedy"] == "plain"]
    shallow, deep = (pick(plain, key=lambda row: row["depth"]) for pick in (min, max))
    change = {name: deep[name]["mean"] - shallow[name]["mean"] for name in ("error", "train_error")}
    beside = next(gap for gap in group["deeper"]["width"] if int(gap["a"]) == deep["depth"])
    if not beside["found"]:
        kind = "no difference found on what it has not seen"
    elif change["error"] < 0:
        kind = "better on what it has not seen"
    else:
        why = "overfits" if change["train_error"] < 0 else "is not even good on what it learned from"
        kind = f"worse, for it {why}"
    print(f"{CELLS[group['cell']].title} on {group['data']}, {deep['depth']} layers beside {shallow['depth']}: "
          f"training error {change['train_error']:+.3f}, test error {change['error']:+.3f}: {kind}")  # fmt: skip

# %%
answer.figures["How they learned"]

# %% [markdown]
# ## 5 · Remedies
#
# Residual connections mend the way down, section 2 says; dropout between the layers is against overfitting (Zaremba et
# al. 2014).
#
# > **Predict, then run.** Which one helps eight layers more? And is the best deep network then better than the best
# > network of one layer?

# %%
answer.figures["Remedies"]

# %%
for group in groups:
    print(f"{CELLS[group['cell']].title} on {group['data']}")
    for gap in group["remedies"]["error"]:
        print(f"   {gap['a']:<20} beside plain, {gap['depth']} layers: {percent(gap)}")
    for gap in group["shallow"]:
        print(f"   {gap['a']:<28} beside {gap['b']}: {percent(gap)}")

# %% [markdown]
# ## 6 · What a layer costs
#
# > **Predict, then run.** How many times as long does a training step take with eight layers, at equal width and at
# > equal parameters? (Eight layers are eight times the steps that have to wait for one another.)

# %%
answer.figures["Time of a step"]

# %%
for taken in answer.findings["times"]:
    depth, ratio = list(taken["ratio"].items())[-1]
    print(f"{CELLS[taken['cell']].title} on {taken['data']}, equal {taken['basis']}: {depth} layers take "
          f"{ratio['mean']:.1f} [{ratio['low']:.1f}, {ratio['high']:.1f}] times one layer's time")  # fmt: skip

# %% [markdown]
# Equal parameters are nearly equal multiplications; they are not equal time. Narrow layers make small matrices, and
# each layer goes through all of its steps.
#
# ## 7 · The answer, and what was not found

# %%
print(answer.verdict)

# %%
looked = [(group, basis, gap) for group in groups for basis, gaps in group["deeper"].items() for gap in gaps]
open_ones = [f"{CELLS[group['cell']].title} on {group['data']}, {gap['a']} layers at equal {basis}"
             for group, basis, gap in looked if not gap["found"]]  # fmt: skip
print(f"No difference from one layer was found in {len(open_ones)} of {len(looked)} comparisons:")
print("\n".join(f"   {name}" for name in open_ones))

# %% [markdown]
# What this cannot say: the sets are small, training is short, and the learning rate was chosen among few. Speech and
# translation, where stacks of four to eight LSTM layers were the standard for years, have a thousand times the data.
# `gatelab study depth --budget full` trains longer, with more rates, and on a third set.
#
# ## Exercises
#
# 1. Repeat section 2 with `cell="gru"` and `cell="rnn"`. In which cell does the gradient fade least over layers? (The
#    GRU's state is $h' = (1 - z) \odot n + z \odot h$: where in it is the input?)
# 2. Section 2 draws torch's start. Does `init="orthogonal"` (a setting of `ModelConfig`) change the picture?
# 3. A residual connection adds a layer's input to its output, so that variances add up, too. Measure the size of the
#    output of 1, 2, 4 and 8 residual layers. What would happen at 100?
# 4. Run `gatelab study depth --cells rnn --out runs/depth-rnn`. Does the vanilla RNN need residual connections more?
# 5. Build a `gatelab.nn.Stack` in which only the top layer is wide, train it on a task of your choice, and say
#    beforehand what you expect.
