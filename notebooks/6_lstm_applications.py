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
# # 6 · Where gates pay, and where they do not
#
# Courses teach the vanilla RNN as a step on the way to the LSTM, and then apply LSTMs to everything. This page asks for
# the evidence, one use at a time: **where do gated cells beat the vanilla RNN, where do they not, and where is a
# method without any recurrence enough?**
#
# You will
#
# 1. tell, before any network is trained, which sequences could need a memory at all;
# 2. predict the outcome on forecasts, text, speech, music, pictures read step by step, and problems made to need a
#    memory;
# 3. read the experiment: three cells at equal parameters, beside a simple method each;
# 4. look into trained networks: how far back does each of them look?
# 5. let one write names, and see how it knows when a name is over.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-applications` is read and not run again.

# %%
import os
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

import gatelab
from gatelab.cells import CELLS
from gatelab.core.errors import GatelabError
from gatelab.core.files import read_json
from gatelab.data.tokens import END
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study
from gatelab.studies.questions.applications_page import over_rnn, standing
from gatelab.studies.questions.applications_table import chosen
from gatelab.studies.questions.comparison_trial import flat
from gatelab.studies.training_trial import model_of, task_of
from gatelab.tasks.language.generate import Streamed
from gatelab.tasks.language.samples import of_lines
from gatelab.training.runs import Run

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
SHOWN = {"axes.titlesize": 10, "figure.dpi": 120, "figure.constrained_layout.use": True, "text.parse_math": True}
plt.rcParams.update(THEME | SMALL | SHOWN)

# %% [markdown]
# ## 1 · Which sequences could need a memory?
#
# Both kinds of network compute the answer $\hat y$ from a state, $\hat y = h_T W_{hy} + b_y$. The vanilla RNN makes the
# whole state anew at every step; a gated cell writes into a state that otherwise stays as it is:
#
# $$h' = \tanh(x\,W_{xh} + h\,W_{hh} + b_h) \qquad\text{or}\qquad c' = f \odot c + i \odot g$$
#
# So gates can pay where two things come together: something far back matters, *and* what to keep depends on what is
# read. Where the last few values tell nearly all, and nearly linearly, a window will do,
#
# $$\hat y = b + \sum_{k=0}^{K-1} x_{T-k}\,a_k,$$
#
# and Gers, Eck & Schmidhuber (2001) found an LSTM *behind* such windows on series. That can be looked at without a
# network: fit the window by least squares, let $K$ grow, and see how much of the target's variance it leaves
# unexplained on the test part.
#
# > **Predict, then run.** Sketch the curve of each application named below. Which ones fall at once, which need a long
# > window, and which stay at 1 whatever the window?


# %%
def arrays(task, part, at_most=4000):
    """Inputs ``(T, N, I)`` and targets ``(N, O)`` of a part, as far as every target is known."""
    batch = next(iter(task.batches(part, at_most)))
    if task.name == "forecasting":  # what follows, in the window's own scale
        y = ((batch.truth - batch.centre) / batch.deviation)[-1]  # (N, O) the last step of the horizon
        known = batch.seen[-1].all(dim=1)  # (N,)
        return batch.inputs[:, known].double().numpy(), y[known].double().numpy()
    y = batch.y[-1].numpy()  # (N,)
    return batch.x.double().numpy(), np.eye(10)[y] if y.dtype.kind == "i" else y[:, None].astype(float)


def unexplained(train, test, window):
    """The share of the targets' variance on ``test`` that least squares on the last ``window`` steps leaves."""

    def rows(x):
        seen = x[-window:].swapaxes(0, 1).reshape(x.shape[1], -1)  # (N, K·I)
        return np.column_stack([seen, np.ones(len(seen))])  # (N, K·I + 1)

    (x, y), (new_x, new_y) = train, test
    weights, *_ = np.linalg.lstsq(rows(x), y, rcond=1e-6)  # (K·I + 1, O)
    return np.square(rows(new_x) @ weights - new_y).sum() / np.square(new_y - y.mean(0)).sum()


DENSE = ("forecasting", "problem")  # numbers at every step, one answer, all sequences of one length
fig, axis = plt.subplots(figsize=(8, 3.4))
looks = iter(product(("-", (0, (4, 2))), ("violet", "ochre", "sky", "rose", "stone")))
profiles = {}
for each in chosen(BUDGET):
    if each.settings["task"] not in DENSE:
        continue
    whole = {name: value for name, value in each.settings.items() if name != "shortest"}  # all of one length
    try:
        task = task_of(whole)
    except GatelabError as error:
        print(f"{each.title} is left out: {error.problem}")
        continue
    train, test = arrays(task, "train"), arrays(task, "test")
    sizes = np.unique(np.geomspace(1, len(train[0]), 9).round().astype(int))  # (W,)
    profiles[each.title] = [unexplained(train, test, window) for window in sizes]
    dash, shade = next(looks)
    axis.plot(
        sizes, profiles[each.title], color=COLOUR[shade], linestyle=dash, marker="o", markersize=3, label=each.title
    )
axis.axhline(1, color=COLOUR["muted"], linewidth=1, linestyle=(0, (4, 3)))
axis.set(xscale="log", ylim=(0, 1.25), xlabel="steps that the window sees, K", title="What a linear window leaves")
axis.set(ylabel="share of variance unexplained")
longest = max(line.get_xdata()[-1] for line in axis.lines[:-1])
ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= longest]
axis.set_xticks(ticks, map(str, ticks))
axis.set_xticks([], minor=True)
axis.set_xlim(0.95, 1.05 * longest)
axis.legend(bbox_to_anchor=(1.01, 1), loc="upper left", fontsize=8)
plt.show()
for title, left in profiles.items():
    print(f"{title:<20} one step leaves {left[0]:.2f}, the whole window {left[-1]:.2f}")

# %% [markdown]
# A curve near 1 can mean two opposite things: that there is nothing to know (the coming change of a price), or that
# there is everything to know but not for a line (two marked numbers to be added). Only the second kind is a case for
# gates. A curve that falls at once and stays there says that whatever a cell remembers beyond it can earn little.
#
# ## 2 · The applications
#
# One table holds them: `gatelab.studies.questions.applications_table`. An entry names a task, its data, its settings,
# and the simple methods it stands beside; a task that gatelab learns later joins by one more entry.

# %%
for each in chosen(BUDGET):
    print(f"{each.title} ({each.field}): {each.text}. {each.parameters:,} parameters; beside: {', '.join(each.simple)}")

# %% [markdown]
# > **Predict, then run.** For each line: will LSTM and GRU err less than an RNN with as many parameters; and which of
# > them will not beat the simple method?
#
# ## 3 · The experiment
#
# An unfair RNN is easily beaten, so each cell starts as is known to be good for it: the gated ones with an open gate,
# the RNN with orthogonal recurrent weights, which keep the gradient's length at first (notebook 2). Each cell chooses
# its learning rate on the validation part, with a seed of its own.

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
FOLDER = ROOT / "runs" / "study-applications"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2} if QUICK else {"budget": BUDGET, "seeds": 3}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("applications", out=OUT, **size)
for paragraph in answer.study.protocol[1:]:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %%
answer.tables["Every application"]

# %% [markdown]
# ### Gated cells over the RNN
#
# The error of LSTM and GRU over the RNN's, seed by seed. Left of the line gates pay.

# %%
for name, figure in answer.figures.items():
    if name.startswith("Gated cells"):
        display(figure)

# %%
ratios = over_rnn(answer.findings)


def interval(found, digits=2):
    """A ratio and its interval, as text."""
    ends = "" if found["low"] is None else f" [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    return f"{found['mean']:.{digits}f}{ends}"


print(f"{answer.results['headline']}\n")
for ratio in ratios:
    word = ("less" if ratio["mean"] < 1 else "more") + " than the RNN" if ratio["found"] else "no difference found"
    p = "–" if ratio["p_holm"] is None else f"{ratio['p_holm']:.3f}"
    print(f"{ratio['data']:<20}{CELLS[ratio['a']].title:<6} {interval(ratio):<22} {word} (corrected p = {p})")

# %% [markdown]
# "No difference found" is not "no difference": look at the width of the interval. A narrow one around 1 says that what
# there may be is small; a wide one says that these seeds cannot tell.

# %%
several = [ratio for ratio in ratios if ratio["low"] is not None and not ratio["found"]]
for ratio in sorted(several, key=lambda ratio: ratio["high"] / ratio["low"]):
    width = ratio["high"] / ratio["low"]
    kind = "small, if there is one" if width < 1.1 else "open"
    print(f"{ratio['data']:<20}{CELLS[ratio['a']].title:<6} between {100 * (ratio['low'] - 1):+.1f} % and "
          f"{100 * (ratio['high'] - 1):+.1f} %: a difference is {kind}")  # fmt: skip

# %% [markdown]
# ## 4 · Beside methods that remember nothing
#
# Beating the RNN is one thing. The simple methods below see the same inputs, are fitted in seconds, and give the same
# answer every time.

# %%
answer.figures["Beside the simple method"]

# %%
WORDS = {"better": "beats", "same": "is not found to beat", "worse": "loses to"}
for each in answer.findings["applications"]:
    stand = standing(each)
    if stand.baseline is not None:
        metric, reached = each["metric"], stand.means[stand.leader].mean
        print(f"{each['data']}: the best cell, {CELLS[stand.leader].title} ({metric['name']} {reached:.3f}), "
              f"{WORDS[stand.news]} {stand.baseline} ({stand.mark:.3f})")  # fmt: skip

# %% [markdown]
# These comparisons are sure over seeds, not over time. On prices that matters most: a lead of a percent over *tomorrow
# is like today* on one test part is what notebook 1 takes apart, day by day, and does not find to last.
#
# On the digits a linear function of all pixels sees at once what the cells have to collect step by step. Reading a
# picture as a sequence makes the problem harder, not easier; it tests the cells and is no way to read digits.
#
# ## 5 · How far back does a trained network look?
#
# The gradient of the loss with respect to the inputs, $\|\partial L / \partial x_t\|$, says how much each step
# mattered to the answer. Here it is for one trained network of each cell, as a share of all steps, by the distance from
# the end, where all sequences are of one length. (For words, `gatelab predict` says which of them mattered.)
#
# > **Predict, then run.** On which applications will the three cells look back alike? Where they differ, is it the cell
# > that looks further back that errs less?


# %%
def network_of(data, cell):
    """The task and the trained network of the first seed."""
    for path in sorted(answer.folder.glob("trials/*/record.json")):
        record = read_json(path)
        settings = record["configuration"]
        mine = (record["kind"], settings["data"], settings.get("cell")) == ("train", data, cell)
        if mine and record["status"] == "ok" and record["seed"] == answer.results["seeds"][0]:
            condition = flat({name: value for name, value in settings.items() if name != "field"})
            task = task_of(condition)
            network = task.build(model_of(task, condition))
            network.load_state_dict(Run.open(path.parent).model_state())
            return task, network.eval()
    return None


def influence(task, network):
    """Each step's share of ‖∂L/∂x_t‖, mean over sequences of the test part, from the last step back: ``(T,)``."""
    batch = next(iter(task.batches("test", 256)))
    name = "inputs" if hasattr(batch, "inputs") else "x"
    read = getattr(batch, name).clone().requires_grad_()  # (T, B, I)
    task.loss(network, replace(batch, **{name: read})).mean.backward()
    slope = read.grad.norm(dim=2)  # (T, B)
    return (slope / slope.sum(dim=0).clamp(min=1e-12)).mean(dim=1).flip(0).numpy()  # (T,)


dense = {each.title for each in chosen(BUDGET) if each.settings["task"] in DENSE}
looked = [each for each in answer.findings["applications"] if each["data"] in dense]
across = min(len(looked), 4)
down = -(-len(looked) // across)
fig, axes = plt.subplots(down, across, figsize=(2.4 * across, 2.1 * down + 0.2), squeeze=False)
halves = {}
for axis, each in zip(axes.flat, looked, strict=False):
    for cell in each["cells"]:
        if (found := network_of(each["data"], cell)) is None:
            continue
        shares = influence(*found)  # (T,)
        halves[each["data"], cell] = int(np.searchsorted(np.cumsum(shares), 0.5)) + 1
        axis.plot(shares, color=COLOUR.get(cell, COLOUR["violet"]), linewidth=1.3, label=CELLS[cell].title)
    axis.set(title=each["data"], ylim=(0, None))
for axis in axes[-1]:
    axis.set_xlabel("steps before the end")
for axis in axes[:, 0]:
    axis.set_ylabel("share")
for axis in axes.flat[len(looked) :]:
    axis.set_visible(False)
axes[0, 0].legend(fontsize=8)
plt.show()

# %%
print("The last steps that have half of the influence")
print(" " * 20 + "".join(f"{CELLS[cell].title:>7}" for cell in answer.study.cells))
for each in looked:
    spans = "".join(f"{halves.get((each['data'], cell), '–'):>7}" for cell in answer.study.cells)
    print(f"{each['data']:<20}{spans}")

# %% [markdown]
# That a network looks far back does not say that it gains by it, and an even curve can also be that of a network that
# has learned nothing. Read this picture beside the errors above.
#
# ## 6 · A network that writes, and knows when to stop
#
# A network that says which letter comes next, $p(x_{t+1} \mid x_1 \dots x_t)$, also writes: draw a letter, read it as
# the next input, and so on. In gatelab the end of a name is one more letter of the alphabet, learned like the others,
# so that the product of all chances is that of the whole name,
#
# $$p(\text{name}) = \prod_{t=0}^{T} p(x_{t+1} \mid x_0 \dots x_t), \qquad x_0 = x_{T+1} = \text{end},$$
#
# and writing stops by itself. The names are those of the table above, the network is larger.
#
# > **Predict, then run.** How many of the names it writes will stand in its training part: none, a tenth, nearly all?
# > And where in `christopher` will it think that the name may be over?

# %%
size = {"hidden_size": 32, "max_steps": 150} if QUICK else {"hidden_size": 128, "dropout": 0.2, "epochs": 10}
model = gatelab.LanguageModel(cell="gru", batch_size=64, documents="lines", **size)
try:
    model.fit("names_makemore")
except GatelabError as error:  # neither file nor network: names of two to four made-up syllables, and it is said
    print(f"{error.problem}; the names are made up")
    rng = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bdklmnrst" for vowel in "aeiou"]
    model.fit(["".join(rng.choice(syllables, rng.integers(2, 5))) + "\n" for _ in range(4000)])
print(f"GRU, {size['hidden_size']} units: {model.evaluate()['NLL']:.3f} nats a letter on the test part\n")
for name in model.generate(n=10, seed=1):
    print(f"{name.text:<14} ln p = {name.log_probability:6.2f}" + ("" if name.ended else "   cut"))
print("\nthe likeliest after mar:", ", ".join("mar" + name.text for name in model.generate("mar", n=6, beam=20)))

# %%
WATCHED = ("anna", "annabelle", "christopher", "jo")


def chance_of_end(name):
    """p(end) before the first letter and after each: ``(T + 1,)``."""
    step, state, chances = Streamed(model.model_), None, []
    for token in (END, *model.task_.tokenizer.encode(name)):
        expected, state = step(torch.tensor([token]), state)  # (1, V)
        chances.append(float(expected[0, END].exp()))
    return chances


wide = [len(name) + 1 for name in WATCHED]
fig, axes = plt.subplots(1, len(WATCHED), figsize=(8, 2.2), sharey=True, width_ratios=wide)
for axis, name in zip(axes, WATCHED, strict=True):
    axis.bar(range(len(name) + 1), chance_of_end(name), color=COLOUR["gru"])
    axis.set_xticks(range(len(name) + 1), ["·", *name])
    axis.set(title=name, ylim=(0, 1))
axes[0].set_ylabel("p(end) after the letter")
plt.show()

# %%
parts = model.task_.parts
facts = of_lines(Streamed(model.model_), parts["train"].texts, parts["test"].texts)
fig, axis = plt.subplots(figsize=(6, 2.6))
for which, colour, label in (
    ("real", COLOUR["muted"], "real names (test part)"),
    ("written", COLOUR["gru"], "written"),
):
    lengths = facts[f"{which}_lengths"]  # (S,)
    axis.plot(np.bincount(lengths) / len(lengths), color=colour, marker="o", markersize=3, label=label)
axis.set(xlabel="letters of a name", ylabel="share of the names", ylim=(0, None))
axis.legend()
plt.show()
for which in ("real", "written"):
    new, again = (100 * facts[f"{which}_{fact}"].mean() for fact in ("new", "again"))
    length = facts[f"{which}_lengths"].mean()
    print(f"{which:<8} {len(facts[f'{which}_new']):,} names of {length:.2f} letters: "
          f"{new:.0f} % not in the training part, {again:.1f} % like one before")  # fmt: skip

# %% [markdown]
# (Equal names stay in one part, so no real name of the test part is in the training part.)
#
# No rule says how long a name is. What the chance of an end depends on is in the state: letters counted roughly, the
# endings that names have. A language model that has no such token must be stopped from outside, and says nothing of
# how likely its text is as a whole.
#
# ## 7 · Was it only too short?
#
# Cells learn at different speeds, and an RNN that would get there with ten times the steps has not been beaten for
# good.

# %%
answer.figures["How they learned"]

# %%
for each in answer.findings["applications"]:
    parts = []
    for cell, found in each["cells"].items():
        losses = np.array(found["curve"]["validation"], dtype=float)  # (E,)
        late = max(len(losses) // 4, 1)
        gain = 1 - losses[-late:].min() / losses[:-late].min() if len(losses) > late else np.nan
        parts.append(f"{CELLS[cell].title} {100 * max(gain, 0):.0f} %")
    print(f"{each['data']:<20} validation loss won in the last quarter of training: {', '.join(parts)}")

# %% [markdown]
# Where the last quarter still won several percent, the comparison is one of speed as much as of ability.
#
# ## 8 · What was found, and what was not

# %%
for sentence in answer.verdict.split(". "):
    print(f"· {sentence.rstrip('.')}.")

# %%
absent = ", ".join(answer.findings["missing"])
print(f"Fields that the question names and that are not here yet: {absent or 'none'}.")

# %% [markdown]
# Text and speech are where gated cells made their name, with networks and data a thousand times as large as these: this
# page cannot speak of those, nor of many layers (notebook 8). The intervals are about chance in training; one detector,
# one city and one composer stand for their fields.
#
# **What to do with it.** Put a simple method beside your network before you put a second network beside the first. If
# a window of the last few values does as well, take the window. If what matters is far back, take a gated cell.
#
# ## Exercises
#
# 1. *Your own application.* Copy an entry of `applications_table.py`, name a CSV of yours as its source, and run
#    `gatelab study applications --budget quick`. Where does it lie in the first picture of this page?
# 2. *A fairer RNN?* Set the RNN's start to `torch` in `Applications.conditions`. Which ratios change?
# 3. *The window that is missing.* Let the linear method of the adding problem see products of two inputs
#    (`sklearn.preprocessing.PolynomialFeatures`). How many features does that take at 100 steps, and is it then solved?
# 4. *Power.* With $n$ seeds and 8 applications, how large must a difference be, in units of its scatter, to pass Holm's
#    first test? Draw it for $n$ = 3 to 10, and run the study with that many: `gatelab study applications --seeds 10`
#    runs only what is missing.
# 5. *The odd one.* Permute the 64 pixels of the digits in one fixed order (`permuted`). Which cell suffers, and does
#    the linear method notice?
