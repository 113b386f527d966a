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
# # 3 · LSTM or GRU?
#
# The GRU came in 2014 as an LSTM with less in it: two gates instead of three, one state instead of two. Courses say
# that it is faster and about as good. This page takes the GRU apart, down to a detail in which textbooks and
# libraries differ without saying so, and then asks the question as an experiment: **at equal parameters, which of the
# two learns more from long sequences, in how many steps, and what does a step cost?**
#
# You will
#
# 1. see what the two gates of a GRU do, and what they cannot do;
# 2. put its reset gate in either place, and find out when that matters;
# 3. count what LSTM and GRU cost, before anything is measured;
# 4. read an experiment on drawn sequences, traffic, transformer temperatures and chorales, with RNN and ARIMA beside
#    both.
#
# Letters are those of notebook 1: $T$ steps, $B$ sequences at a time, $I$ inputs, $H$ hidden units; $\odot$
# multiplies entry by entry; every line that makes an array ends in its shape.
#
# **How to read.** Where it says *Predict, then run*, write your answer down first. The environment variable
# `GATELAB_BUDGET` sets the size: `quick` (under two minutes) or `standard` (these outputs). A study that lies in
# `runs/study-comparison` is read and not run again.

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody needs

from gatelab.bench.timing import Contender, alternate
from gatelab.cells import CELLS, forward, initial_parameters, parameter_count, trace_of
from gatelab.core.errors import GatelabError
from gatelab.core.random import generator
from gatelab.report.palette import PALETTE
from gatelab.report.plots.drawing import THEME
from gatelab.studies.answer import load, study
from gatelab.studies.questions.comparison_page import pair
from gatelab.studies.statistics import bootstrap

BUDGET = os.environ.get("GATELAB_BUDGET", "standard")
QUICK = BUDGET == "quick"
COLOUR = {name: shade.light for name, shade in PALETTE.items()}
SMALL = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
plt.rcParams.update(
    THEME
    | SMALL
    | {"axes.titlesize": 10, "figure.dpi": 120, "text.parse_math": True, "figure.constrained_layout.use": True}
)

# %% [markdown]
# ## 1 · The GRU in detail
#
# $$\begin{aligned}
# r &= \sigma(x\,W_{xr} + h\,W_{hr} + b_r) && \text{reset gate: how much of the old state the candidate sees}\\
# z &= \sigma(x\,W_{xz} + h\,W_{hz} + b_z) && \text{update gate: how much of the old state to keep}\\
# n &= \tanh(x\,W_{xn} + b_{xn} + r \odot (h\,W_{hn} + b_{hn})) && \text{candidate: what to write}\\
# h' &= (1 - z) \odot n + z \odot h && \text{hidden state}
# \end{aligned}$$
#
# Its corners tell what it can be. With $z = 0$ and $r = 1$ it is a vanilla RNN: all is written anew, and all of the
# old state is seen. With $z = 1$ nothing happens: the state stands still, and the gradient passes unchanged. With $z
# = 0$ and $r = 0$ it forgets everything and sees the input alone.
#
# (Papers differ in what $z$ means. Cho et al. 2014 and torch keep with $z$, as here; Chung et al. 2014 write with
# it.)
#
# An LSTM has $i$ and $f$, and may keep all and add to it ($f = i = 1$). A GRU's $h'$ is a weighted mean of $h$ and
# $n$, and $n$ lies between −1 and 1.
#
# > **Predict, then run.** One unit with weights of zero, biases set by hand, reads a row of ones for 100 steps. How
# > high can the LSTM's cell rise, and how high the GRU's state?


# %%
def one_unit(name, biases, T=100):
    """The memory of one unit whose biases are set by hand and whose weights are zero: ``(T,)``."""
    cell = CELLS[name]
    params = cell.Params(**{key: np.zeros(shape) for key, shape in cell.shapes(1, 1).items()})
    for gate, bias in biases.items():
        params.bias_ih[cell.gates.index(gate)] = bias
    _, cache = forward(cell, {"l0": params}, np.ones((T, 1, 1)))  # (T, B, I)
    return trace_of(cache)["l0"]["c" if name == "lstm" else "h"][:, 0, 0]  # (T,)


counts = {
    "LSTM: keep all, write all": one_unit("lstm", {"i": 20, "f": 20, "g": 20}),
    "GRU: z = 0.95": one_unit("gru", {"z": 3, "n": 20}),
    "GRU: z = 0.99": one_unit("gru", {"z": 4.6, "n": 20}),
}
fig, axes = plt.subplots(1, 2, figsize=(8, 2.7))
for (label, memory), colour, dash in zip(counts.items(), ("lstm", "gru", "gru"), ("-", "-", (0, (5, 2))), strict=True):
    axes[0 if "LSTM" in label else 1].plot(memory, color=COLOUR[colour], linestyle=dash, label=label)
axes[0].set(title="The LSTM's cell", xlabel="step", ylabel="c")
axes[1].set(title="The GRU's state", xlabel="step", ylabel="h", ylim=(0, 1.05))
axes[1].legend(loc="lower right", fontsize=8)
plt.show()
print("after 100 steps: " + ", ".join(f"{label} {memory[-1]:.3f}" for label, memory in counts.items()))

# %% [markdown]
# An LSTM's unit can count; a GRU's is a leaky average and forgets how long it has been rising. Whether that matters
# is another question: a network has many units and learns what it needs.
#
# ## 2 · The reset gate, before or after
#
# Cho et al. (2014, eq. 8) multiply the *state* by $r$, and then with the matrix. torch and cuDNN multiply with the
# matrix first:
#
# $$\begin{aligned}
# n &= \tanh(x\,W_{xn} + b_{xn} + (r \odot h)\,W_{hn} + b_{hn}) && \text{before: } r \text{ scales what a unit sends}\\
# n &= \tanh(x\,W_{xn} + b_{xn} + r \odot (h\,W_{hn} + b_{hn})) && \text{after: } r \text{ scales what a unit receives}
# \end{aligned}$$
#
# Both have the very same parameters, and both are called GRU. Read them side by side: entry $j$ of the hidden part is
# $\sum_k r_k\,h_k\,W_{kj}$ in the first and $r_j \sum_k h_k\,W_{kj}$ in the second.
#
# > **Predict, then run.** Take random weights. In which of these cases do both give the same state: (a) $r = 1$ for
# > every unit; (b) $h = 0$; (c) $h = 0$ and $b_{hn} = 0$; (d) a single unit, $H = 1$, with $b_{hn} = 0$; (e) $W_{hn}$
# > diagonal and $b_{hn} = 0$; (f) $r$ small?

# %%
H, I, B = 16, 4, 32  # noqa: E741
rng = generator(0, "placement")


def random_params(size, **fixed):
    """Weights of a GRU drawn at random, with what ``fixed`` says put in their place."""
    params = initial_parameters(CELLS["gru"], I, size, rng)["l0"]
    return params._replace(**{name: make(getattr(params, name).copy()) for name, make in fixed.items()})


def block(gate, value):
    """Sets the rows of one gate."""

    def make(array):
        size = len(array) // 3
        rows = slice(size * "rzn".index(gate), size * ("rzn".index(gate) + 1))
        array[rows] = value(array[rows]) if callable(value) else value
        return array

    return make


def apart(params, h):
    """How far the states after one step lie apart with the reset gate after and before: the largest difference."""
    x, State = generator(1, "x").normal(size=(len(h), I)), CELLS["gru"].State  # (B, I)
    after, before = (CELLS[name].step(params, x, State(h))[0].h for name in ("gru", "gru_reset_before"))  # (B, H)
    return np.abs(after - before).max()


no_bias, open_gate, shut = {"bias_hh": block("n", 0)}, {"bias_ih": block("r", 40)}, {"bias_ih": block("r", -40)}
diagonal = {"weight_hh": block("n", lambda rows: np.diag(np.diag(rows)))}
states = rng.uniform(-1, 1, (B, H))  # (B, H)
cases = {
    "any weights, any state": apart(random_params(H), states),
    "(a) r = 1": apart(random_params(H, **open_gate), states),
    "(b) h = 0": apart(random_params(H), 0 * states),
    "(c) h = 0, b_hn = 0": apart(random_params(H, **no_bias), 0 * states),
    "(d) H = 1, b_hn = 0": apart(random_params(1, **no_bias), states[:, :1]),
    "(e) W_hn diagonal, b_hn = 0": apart(random_params(H, **diagonal, **no_bias), states),
    "(f) r = 0": apart(random_params(H, **shut), states),
    "    r = 0, b_hn = 0": apart(random_params(H, **shut, **no_bias), states),
}
for case, gap in cases.items():
    print(f"{case:<30} {'equal to rounding' if gap < 1e-12 else f'apart by {gap:.2e}'}")

# %% [markdown]
# The bias is the trap in (b) and (f): after the multiplication, $r$ scales $b_{hn}$ too. So the first step, whose
# state is zero, is already another one, unless the bias is zero. Else it takes an open gate (a), or a matrix by which
# no unit sends to another (d, e).
#
# A difference in one step grows or fades over a sequence. Here it is over 60 steps, for weights as torch draws them
# and for larger ones, which training makes.

# %%
x = generator(2, "sequence").normal(size=(60, 64, I))  # (T, B, I)
fig, axis = plt.subplots(figsize=(6.6, 2.8))
drawn = random_params(H)
for scale, colour in ((1, "sky"), (2, "violet"), (4, "rose")):
    params = {"l0": type(drawn)(*(scale * array for array in drawn))}
    after, before = (forward(CELLS[name], params, x)[0][0] for name in ("gru", "gru_reset_before"))  # (T, B, H) each
    gap = np.abs(after - before).mean(axis=(1, 2)) / np.abs(after).mean(axis=(1, 2))  # (T,)
    axis.plot(np.arange(1, 61), 100 * gap, color=COLOUR[colour], label=f"weights × {scale}")
    print(f"weights × {scale}: states differ by {100 * gap[0]:.1f} % after one step, {100 * gap[-1]:.1f} % after 60")
axis.set(title="The same weights, the reset gate moved: how far states lie apart", xlabel="step", ylabel="% of |h|",
         ylim=(0, None))  # fmt: skip
axis.legend()
plt.show()

# %% [markdown]
# Two functions, then. Which one is in a file of weights is not written in the file; a model trained in one library
# and run in another is silently a different model. What that costs is measured in section 4.
#
# Why do libraries prefer *after*? Because $h\,W_{hr}$, $h\,W_{hz}$ and $h\,W_{hn}$ are then one product. Before, the
# third has to wait for $r$.
#
# > **Predict, then run.** How much longer does a step take with the gate before, in NumPy, at 256 units?


# %%
def steps_of(name, H=256, B=16, T=20):
    """A call that takes a cell through a short sequence; nothing of it is kept."""
    cell = CELLS[name]
    params = initial_parameters(cell, 32, H, generator(0, "timed"))["l0"]
    x, h = generator(0, "timed x").normal(size=(T, B, 32)), np.zeros((B, H))  # (T, B, I), (B, H)

    def call():
        state = cell.State(h)
        for step in x:
            state, _ = cell.step(params, step, state)
        return {}

    return Contender(name, call, work=T)


rounds = alternate([steps_of("gru"), steps_of("gru_reset_before")], seconds=2)  # (R, 2) they take turns
slower = bootstrap(list(rounds[:, 1] / rounds[:, 0]))
print(f"a step: {1e6 * np.median(rounds[:, 0]):.0f} µs after, {1e6 * np.median(rounds[:, 1]):.0f} µs before, "
      f"ratio {slower.mean:.2f} [{slower.low:.2f}, {slower.high:.2f}] over {len(rounds)} turns")  # fmt: skip

# %% [markdown]
# ## 3 · What each costs, by counting
#
# "The GRU is a quarter cheaper" is a sentence about equal *width*: three blocks of weights for four. To compare what
# two cells can learn, give both the same number of parameters, and the GRU gets more units instead.
#
# > **Predict, then run.** At equal parameters, does a step of the GRU still need fewer multiplications?

# %%
print(f"{'':<6}{'H':>5}{'parameters':>12}{'multiplications a step':>25}{'numbers kept a step':>22}")
KEPT = {"rnn": 1, "lstm": 6, "gru": 5}  # a unit: h; i f g o c h; r z n, the hidden side of n, h
for budget in ("equal width", "equal parameters"):
    print(budget)
    for name in ("rnn", "lstm", "gru"):
        target = parameter_count(CELLS["lstm"], 8, 64)
        nearest = min(range(1, 400), key=lambda H: abs(parameter_count(CELLS[name], 8, H) - target))
        H = 64 if budget == "equal width" else nearest
        blocks = len(CELLS[name].gates) or 1
        print(f"{CELLS[name].title:<6}{H:>5}{parameter_count(CELLS[name], 8, H):>12,}{blocks * H * (H + 8):>25,}"
              f"{KEPT[name] * H:>22,}")  # fmt: skip

# %% [markdown]
# A multiplication for every weight, in each of them: equal parameters *are* equal work. What the GRU saves in blocks
# it spends on units, so any difference in time must come from elsewhere: the squashing functions, the shapes of the
# matrices, the code. Memory in training is what the way back needs of every step, and that is nearly equal, too.
#
# ## 4 · The experiment
#
# `gatelab study comparison` trains RNN, LSTM and GRU, and the GRU with its reset gate before, where that is
# affordable. Hidden sizes are solved for, so that all have the same number of parameters. Each cell chooses its
# learning rate on the validation part with a seed of its own. Initialisation: torch's, with a bias of 1 for the gate
# that keeps, $f$ or $z$, since an LSTM that starts by forgetting is another LSTM (Jozefowicz et al. 2015). Nothing
# stands beside the cell that could do its work: no linear path, no clock.
#
# > **Predict, then run.** On each of the sets of data: GRU, LSTM, or no difference? And where will even the better
# > one lose to a method without a network?

# %%
ROOT = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists()), Path())
FOLDER = ROOT / "runs" / "study-comparison"
OUT = FOLDER.with_name(f"{FOLDER.name}-quick") if QUICK else FOLDER
size = {"budget": "quick", "seeds": 2} if QUICK else {"budget": BUDGET}
answer = load(FOLDER) if (FOLDER / "results.json").exists() else study("comparison", out=OUT, **size)
for paragraph in answer.study.protocol:
    print(f"· {paragraph}\n")
print(f"budget {answer.results['budget']}, seeds {', '.join(map(str, answer.results['seeds']))}, "
      f"{answer.results['trials']} trials, {answer.results['seconds'] / 60:.0f} minutes of computing")  # fmt: skip

# %%
answer.tables["Every cell and baseline"]

# %% [markdown]
# ### Accuracy
#
# The error of the GRU over that of the LSTM, seed by seed, as a geometric mean with its interval. At 1 they are
# equal.

# %%
answer.figures["GRU over LSTM: error"]

# %%
sets = {each["data"]: each for each in answer.findings["sets"]}
ratios = {quantity: pair(found, "gru", "lstm") for quantity, found in answer.findings["ratios"].items()}
ratios["time"] = pair(answer.findings["costs"], "gru", "lstm")


def interval(found, digits=2):
    """A value and its interval, as text."""
    ends = "" if found["low"] is None else f" [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    return f"{found['mean']:.{digits}f}{ends}"


print(f"{answer.results['headline']}\n")
for ratio in ratios["error"]:
    word = ("the GRU" if ratio["mean"] < 1 else "the LSTM") + " errs less" if ratio["found"] else "no difference found"
    p = "–" if ratio["p_holm"] is None else f"{ratio['p_holm']:.3f}"
    print(f"{ratio['data']:<14} error of the GRU over the LSTM's {interval(ratio):<22} {word} (corrected p = {p})")

# %%
for name, figure in answer.figures.items():
    if name.startswith("Error"):
        print(name)
        display(figure)

# %% [markdown]
# ### Steps, time, memory
#
# A lower error after the same number of epochs may only mean that a cell was faster. So look at how they got there.
#
# > **Predict, then run.** Which one needs fewer optimizer steps to the level that both reach? Section 3 said that a
# > step costs the same: does it?

# %%
display(answer.figures["How they learned"])
for quantity in ("steps to level", "time of a step"):
    print(quantity)
    display(answer.figures[f"GRU over LSTM: {quantity}"])

# %%
for ratio in ratios["steps"]:
    cells = sets[ratio["data"]]["cells"]
    got = ", ".join(f"{CELLS[cell].title} {found['reached']}/{found['finished']}" for cell, found in cells.items())
    word = "" if ratio["found"] else ", no difference found"
    print(f"{ratio['data']:<14} steps of the GRU over the LSTM's {interval(ratio)}{word}; seeds that got there: {got}")
print()
for ratio in ratios["time"]:
    memory = "too little to measure" if ratio["memory"] is None else f"{ratio['memory']:.2f}"
    print(f"{ratio['data']:<14} time of a step, GRU over LSTM {interval(ratio):<22} memory {memory}")

# %% [markdown]
# Times are those of the fused kernels of this package on one core, with torch's head and optimizer around them. On a
# GPU, or with other sizes, they are others: measure yours with `gatelab bench`.
#
# ### The reset gate, trained
#
# > **Predict, then run.** Trained from the same seeds, does the place of the gate change the error? And if the
# > trained weights are run with the gate in the *other* place?

# %%
places = pair(answer.findings["ratios"]["error"], "gru", "gru_reset_before")
for ratio in places:
    found = "beyond chance" if ratio["found"] else "no difference found"
    print(f"{ratio['data']}: error with the gate after, over error with it before: {interval(ratio, 3)}, {found}")
if not places:
    print("The GRU with the gate before was not trained at this size.")

# %%
answer.tables.get("The reset gate in the other place")

# %%
for moved in answer.findings["swapped"]:
    change = 100 * (moved["mean"] - 1)
    word = "raises" if change > 0 else "lowers"
    trained_as = f"{moved['data']}, trained as {CELLS[moved['a']].title}"
    print(f"{trained_as}: moving the gate {word} the error by {abs(change):.1f} %")

# %% [markdown]
# "When do they differ?" is two questions. As *kinds of cell* to be trained, the ratio above answers it. As *functions
# of given weights* the table does: who carries weights from one library to another has to carry the place of the gate
# along. gatelab's layers have both (`reset_after`), Keras has an argument of that name, and ONNX's GRU node says
# `linear_before_reset`.
#
# ### ARIMA beside them
#
# Fu, Zhang & Li (2016) compared LSTM, GRU and ARIMA on the flow at PeMS detectors, five minutes ahead, and found both
# networks better than ARIMA. Their detectors and their way of fitting are not ours, so their figures cannot stand
# beside ours; their finding can. Ours is one detector of 2016, the last hour in and five minutes out, tested on the
# file that the repository TrafficFlowPrediction set aside. That repository, which implements the paper's networks,
# reports MAE 7.21 for its LSTM and 7.20 for its GRU on this file, from one run each, with larger networks.
#
# > **Predict, then run.** ARIMA is linear and sees the same numbers. By how many percent do the networks beat it?

# %%
for name, each in sets.items():
    if "ARIMA" in each["baselines"]:
        mark = each["baselines"]["ARIMA"]
        print(f"{name}: ARIMA has {each['metric']} {mark:.3f}")
        for cell, found in each["cells"].items():
            if found["error"]:
                share = {end: None if found["error"][end] is None else 100 * (found["error"][end] / mark - 1)
                         for end in ("mean", "low", "high")}  # fmt: skip
                print(f"   {CELLS[cell].title:<20} {found['error']['mean']:.3f}, {interval(share, 1)} % from ARIMA")
        best = min(each["baselines"], key=each["baselines"].get)
        print(f"   the best method without a network: {best}, {each['baselines'][best]:.3f}")

# %% [markdown]
# What does a lead of some percent look like? One day of the test file, and the five minutes that are hardest.

# %%
from gatelab import Forecaster
from gatelab.tasks.forecasting.baselines import truth_of
from gatelab.tasks.forecasting.statespace import StateSpaceBaseline, arimas

OPTIONS = {"frequency": "rows", "lookback": 12, "horizon": 1, "normalise": "none", "highway": False,
           "hidden_size": 25, "learning_rate": 1e-2, "seed": 1}  # fmt: skip
try:
    source, day = "traffic_pems", 288
    gru = Forecaster(cell="gru", split=(0.9, 0.1), epochs=3 if QUICK else 12, **OPTIONS).fit(source)
except GatelabError as error:  # neither mirror nor network: a series that statsmodels brings along
    print(f"{error.problem}: sunspots instead")
    source, day = "sunspots_yearly", 40
    gru = Forecaster(cell="gru", epochs=3 if QUICK else 12, **OPTIONS).fit(source)
windows = gru.task_.windows
origins = windows.origins["test"][:day]  # (N,)
truth = truth_of(windows, origins)[0, :, 0]  # (N,)
said = gru.task_.forecast(gru.model_, origins)[1][0, :, 0]  # (N,)
arima = StateSpaceBaseline(windows, arimas, gru.task_.season, origins)(windows, origins)[0, :, 0]  # (N,)
at = np.arange(len(origins)) * (24 / 288 if source == "traffic_pems" else 1)
fig, axes = plt.subplots(2, 1, figsize=(8.6, 4.4), sharex=True, height_ratios=(1.5, 1))
axes[0].plot(at, truth, color=COLOUR["truth"], linewidth=0.9, label="truth")
axes[0].plot(at, said, color=COLOUR["gru"], linewidth=1.4, label="GRU")
axes[0].plot(at, arima, color=COLOUR["grey"], linewidth=1.2, linestyle=(0, (4, 2)), label="ARIMA")
axes[0].set(title=f"{source}: the first day of the test file, one step ahead" if day == 288 else source)
axes[0].legend(ncols=3, fontsize=8, loc="upper right")
worse = np.cumsum(np.abs(arima - truth) - np.abs(said - truth))  # (N,)
axes[1].fill_between(at, worse, color=COLOUR["gru"], alpha=0.25, linewidth=0)
axes[1].plot(at, worse, color=COLOUR["gru"])
axes[1].axhline(0, color=COLOUR["muted"], linewidth=0.8)
axes[1].set(title="How far the GRU is ahead: ARIMA's absolute errors less the GRU's, added up",
            xlabel="hour of the day" if day == 288 else "step")  # fmt: skip
plt.show()
shared = np.corrcoef(said - truth, arima - truth)[0, 1]
print(f"in this stretch: GRU MAE {np.abs(said - truth).mean():.2f}, ARIMA {np.abs(arima - truth).mean():.2f}; "
      f"their errors correlate by {shared:.2f}")  # fmt: skip

# %% [markdown]
# The nearer to 1 that correlation, the more both miss the same: what neither could know from the last values. The
# lead is a small part of what there is to see, which is why it takes a whole test file, and several seeds, to be sure
# of it.
#
# ## 5 · What was found, and what was not

# %%
for sentence in answer.verdict.split(". "):
    print(f"· {sentence.rstrip('.')}.")

# %% [markdown]
# Not shown here: that either cell is better in general. Each set of data is one set; the intervals speak of chance in
# training, not of other detectors, transformers or composers. Cells were compared at one size, one layer and one
# optimizer (notebooks 7 to 9 vary these). A difference that these few seeds do not find may still be there, and
# small.
#
# **What to do with it.** Take either; try the other before you add layers. Give the LSTM its forget bias. If a
# library offers you a GRU, ask which. For your own data: `gatelab compare forecasting my.csv`.
#
# ## Exercises
#
# 1. *By hand.* For which $W_{hn}$ and $b_{hn}$ do both placements agree for every $r$ and $h$? Prove it from the sums
#    of section 2. (Not every such matrix is diagonal for one given $r$: find one that is not, with $r_k = r_j$.)
# 2. *Counting.* Can two GRU units together count to 20 where one cannot? Set the weights by hand.
# 3. *The confound.* Run `gatelab study comparison --cells lstm,lstm_coupled,gru`: the coupled LSTM has $i = 1 - f$,
#    as the GRU has. Which of the two is it like, in error and in steps?
# 4. *The start.* Copy `src/gatelab/studies/questions/comparison.py` and set `init` to `torch` for all. What happens
#    to the LSTM on the adding problem?
# 5. *ARIMA's chance.* ARIMA is fitted on the newest 1,000 rows. Give it the time of day (two sines as regressors in
#    statsmodels' `SARIMAX`) and give the same to the GRU (`calendar=True`, without `frequency="rows"`). What is left
#    of the lead?
