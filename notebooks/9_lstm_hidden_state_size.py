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
# # 9 · How many hidden units?
#
# Whoever builds a recurrent network has to write down a number: the size $H$ of its hidden state. Tutorials write 32,
# 50, 128 or 256, seldom with a reason. This page asks: **what do more units buy, what do they cost, when do they stop
# helping, and could one have known beforehand?**
#
# You will
#
# 1. count what a unit costs, in parameters, multiplications and memory;
# 2. read an experiment: many series, sizes from 2 on, several seeds;
# 3. make a rule for the size on this page, and try it where a rule has to be tried: on series it was not made from;
# 4. ask `gatelab suggest` about a series that none of this has seen, and check its answer by training.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-hidden-size` is read and not run again. At quick size its series come with statsmodels, so that no
# network is needed.

# %%
import os
import tempfile
import warnings
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import gatelab

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

from gatelab.cells import CELLS, parameter_count
from gatelab.core.config import ModelConfig
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study
from gatelab.studies.statistics import bootstrap, estimate
from gatelab.studies.training_trial import task_of, training_of
from gatelab.training import fit

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)

# %% [markdown]
# ## 1 · What a unit costs, by counting
#
# An LSTM has $4H(I + H + 2)$ numbers to learn, a GRU three quarters of that. Each weight is one multiplication a
# step. For the way back, training keeps a handful of numbers for each unit and step: $T \cdot B \cdot H$ times a
# constant. So
#
# | | grows with |
# |---|---|
# | parameters, multiplications | $H^2$, once $H$ is larger than $I$ |
# | memory of a pass | $H$ |
# | what the state can hold | $H$ numbers, whatever they are used for |
#
# > **Predict, then run.** From 8 to 128 units, sixteen times as many: by what factor does the number of parameters
# > grow? And the *time* of a training step on a CPU, by the same factor?

# %%
sizes = [2, 8, 32, 128, 512]
print(f"{'H':>5}{'LSTM parameters':>18}{'GRU parameters':>18}{'share in the recurrent matrix':>32}")
for H in sizes:
    lstm, gru = (parameter_count(CELLS[name], 8, H) for name in ("lstm", "gru"))
    print(f"{H:>5}{lstm:>18,}{gru:>18,}{4 * H * H / lstm:>32.0%}")
growth = parameter_count(CELLS["lstm"], 8, 128) / parameter_count(CELLS["lstm"], 8, 8)
print(f"\nfrom 8 to 128 units an LSTM with 8 inputs has {growth:.0f} times the parameters")

# %% [markdown]
# ## 2 · The experiment
#
# `gatelab study hidden-size` forecasts each series with each size, several seeds each. Errors are the MASE of the test
# part, which has no unit: 1 is as good as repeating the last season was on the training part. Beside the networks stand
# two methods that have no size at all.
#
# > **Predict, then run.** On how many of these series is the largest size the best? On how many is it worse than a
# > tenth of it?

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
FOLDER = ROOT / "runs" / "study-hidden-size"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2} if QUICK else {"budget": BUDGET}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("hidden-size", out=OUT, **size)
for paragraph in answer.study.protocol:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %%
answer.tables["Every series"]

# %%
answer.figures["Error and size"]

# %%
curves = [(one, name, cell) for one in answer.findings["series"] for name, cell in one["cells"].items()]
largest = max(int(size) for _, _, cell in curves for size in cell["errors"])
best = sum(cell["best"] == largest for _, _, cell in curves)
enough = [cell["enough"] for _, _, cell in curves]
print(f"the largest size, {largest}, has the least mean error on {best} of {len(curves)} curves")
print(f"half of the curves are within the best size's interval from {np.median(enough):.0f} units on; "
      f"the others need up to {max(enough)}")  # fmt: skip

# %% [markdown]
# *The best size* is a slippery thing: where a curve is flat, chance decides which point is lowest. So the study asks a
# sturdier question: from which size on is the mean error within the interval of the best? And for every size: how much
# is lost by taking it, the **regret**?

# %%
answer.figures["What a size costs"]

# %%
for H, regret in answer.findings["sizes"].items():
    ends = "" if regret["low"] is None else f" [{100 * regret['low']:.1f}, {100 * regret['high']:.1f}]"
    print(f"{H:>4} units on every series: {100 * regret['mean']:.1f} %{ends} above the best size's error, on average")

# %% [markdown]
# ## 3 · Time and memory
#
# > **Predict, then run.** Section 1 said how the multiplications grow. Where does the time follow them?

# %%
answer.figures["Time and memory"]

# %%
for name, taken in answer.findings["costs"].items():
    steps = list(taken["ms"].items())
    for (less, before), (more, after) in pairwise(steps):
        slope = np.log(after["mean"] / before["mean"]) / np.log(int(more) / int(less))
        print(f"{CELLS[name].title}: from {less} to {more} units time grows by H to the power of {slope:.2f}")

# %% [markdown]
# A power near 0 means that units cost no time: what is paid for is everything around them, each step's overhead, the
# optimizer, the head. Only when matrices fill the machine does the time turn towards $H^2$. On a CPU, very small
# networks are not fast networks.
#
# ## 4 · A rule, and where it has to be tried
#
# A rule of thumb is easily made: look at ten series, note the best sizes, draw a line. It will fit *those* ten. What it
# is worth is shown on a series that it was not made from. So leave one out, make the rule from the others, ask it
# about the one, and do that for each.
#
# The rule here is $H = s \cdot (N/1000)^e$ with $N$ examples to learn from. With $e = 0$ it is one size for all. The
# study fits $s$ and $e$ so that the mean regret is least. In a few lines:


# %%
def regret_of(one, H):
    """By what share the error of size ``H`` lies above the least, mean of the cells."""
    errors = [{int(size): error["mean"] for size, error in cell["errors"].items()} for cell in one["cells"].values()]
    return np.mean([curve[H] / min(curve.values()) - 1 for curve in errors])


def best_size(others, candidates):
    """The size with the least mean regret: the simplest rule there is."""
    return min(candidates, key=lambda H: np.mean([regret_of(one, H) for one in others]))


series = answer.findings["series"]
candidates = sorted(int(size) for size in answer.findings["sizes"])
regrets = []
for one in series:
    H = best_size([other for other in series if other is not one], candidates)
    regrets.append(regret_of(one, H))
    print(f"{one['series']:<20} {one['examples']:>7,} examples: the others say {H:>3} units, "
          f"{100 * regrets[-1]:.1f} % above its own best")  # fmt: skip
mean = bootstrap(regrets, np.mean).scaled(100)
print(f"\none size for all, on the series left out: {mean.mean:.1f} % [{mean.low:.1f}, {mean.high:.1f}]")

# %% [markdown]
# > **Predict, then run.** Should the number of examples help? More to learn from, more units to learn it with: that is
# > what everybody says. Does a rule that looks at it do better than one size for all?

# %%
fig, axis = plt.subplots(figsize=(6.6, 2.9))
for name in dict.fromkeys(name for _, name, _ in curves):
    points = np.array([(one["examples"], cell["enough"]) for one, cell_name, cell in curves if cell_name == name])
    axis.plot(points[:, 0], points[:, 1], "o", color=COLOUR[name], label=CELLS[name].title, alpha=0.8)
axis.set(title="From which size on a curve is as good as its best", xlabel="examples to learn from", ylabel="H",
         xscale="log", yscale="log", yticks=candidates, yticklabels=candidates, xlim=(50, 5e4),
         xticks=[100, 1000, 10_000], xticklabels=["100", "1,000", "10,000"])  # fmt: skip
axis.minorticks_off()
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
answer.figures["Rules on series they have not seen"]

# %%
answer.tables["Every rule"]

# %%
gain = answer.findings["gain"]
units = {end: 100 * gain["units"][end] for end in ("mean", "low", "high")}
found = "beyond chance" if gain["found"] else "no difference found"
print(f"regret by examples less regret of one size: {units['mean']:+.2f} percentage points "
      f"[{units['low']:+.2f}, {units['high']:+.2f}], {found}")  # fmt: skip
print(f"kept for gatelab suggest: {answer.findings['suggestion']['name']}")

# %% [markdown]
# ## 5 · A series that none of this has seen
#
# `gatelab suggest DATA` reads a table and asks the rule that was kept; it trains nothing. It says what it rests on, and
# how wrong it was where it was tried. Weekly CO₂ in the air of Mauna Loa comes with statsmodels.

# %%
UNSEEN = "co2_weekly"
suggestion = gatelab.suggest(UNSEEN)
print(suggestion)

# %% [markdown]
# > **Predict, then run.** Train a fourth of the suggested size, the size itself, and four times as many (256 at most),
# > and score them. How far from the best of the three will the suggestion be?

# %%
H = suggestion.hidden_size
tried = sorted({max(H // 4, 1), H, min(4 * H, 256)})
condition = {"task": "forecasting", "source": UNSEEN, "epochs": 2 if QUICK else 12}
task = task_of(condition)
scores = {H: [] for H in tried}
for H in tried:
    for seed in (1,) if QUICK else (1, 2, 3, 4, 5):
        with tempfile.TemporaryDirectory() as folder:
            model = ModelConfig(cell=suggestion.cell, hidden_size=H)
            fitted = fit(task, model, training_of(task, condition), seed=seed, folder=Path(folder))
            scores[H].append(task.evaluate(fitted.model, "test").metrics["MASE"])
least = min(np.mean(values) for values in scores.values())
for H, values in scores.items():
    score = estimate(values)
    ends = "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"
    mark = "  <- suggested" if suggestion.hidden_size == H else ""
    print(f"{H:>4} units: MASE {score.mean:.3f}{ends}, {100 * (score.mean / least - 1):.1f} % above the best{mark}")
if UNSEEN in suggestion.rests_on:
    print(f"({UNSEEN} is among the series of the rule that is kept at the moment, so this is no test of it.)")

# %% [markdown]
# One series is one series; the interval of the regret over many is what counts.
#
# ## 6 · The answer, and what was not found

# %%
print(answer.verdict)

# %% [markdown]
# What this cannot say: forecasting with one layer and a linear path beside it asks little of the state. A language
# model asks more, and the copy problem of notebook 4 needs a state that can hold what is to be copied, whatever the
# number of examples. Standard training is short; `gatelab study hidden-size --budget full` trains as long as gatelab
# does by default, on fourteen series, with a learning rate for each size.
#
# ## Exercises
#
# 1. Regularisation is the other way to make a network smaller. Train the largest size with `--recurrent-dropout 0.3` on
#    a series where it lost. Does it win the loss back?
# 2. The rule looks at the number of examples alone. Which other number, known before training, would you show it?
#    Change `best_size` above, and try it on the series left out. How many tries may you have?
# 3. "Best on validation" trains every size and still has a regret. Why? (How large is the validation part of
#    `air_passengers`?)
# 4. Suppose that an error 1 % higher is worth a step twice as fast. Change what `best_size` minimises. Which size now?
# 5. `gatelab study hidden-size --cells rnn --out runs/size-rnn` asks the same of the vanilla RNN. Predict first.
