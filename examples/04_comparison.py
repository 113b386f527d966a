"""RNN, LSTM and GRU side by side: error at equal parameters, time, the gradient that comes back, and which to use when.

    python examples/04_comparison.py

Two tasks, one that needs the last two steps and one that needs a step long past; five seeds; the same number of
parameters, the same learning rate and the same forget bias of 1 for all. What to use when is said at the end, and only
from what was measured here: another task may say otherwise, and `gatelab compare` asks your own data, with a learning
rate tuned for each cell.

The layers are gatelab.nn's: torch.nn's, opened up. T steps, B sequences, I inputs, H units.
"""

import textwrap
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import gatelab.nn
from gatelab.bench.equality import check_equal
from gatelab.bench.timing import Contender, alternate
from gatelab.cells import CELLS, parameter_count
from gatelab.core.random import generator, integer_seed
from gatelab.studies.statistics import estimate, pairwise

LAYERS = {"rnn": gatelab.nn.RNN, "lstm": gatelab.nn.LSTM, "gru": gatelab.nn.GRU}
TORCHS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
SEEDS = range(1, 6)
PARAMETERS, RATE, B = 700, 0.015, 128
STARTS = (
    ("rnn", "small_normal"),
    ("rnn", "torch"),
    ("rnn", "orthogonal"),
    ("lstm", "torch"),
    ("lstm", "forget_bias:1"),
    ("lstm", "forget_bias:3"),
    ("gru", "torch"),
    ("gru", "forget_bias:1"),
    ("gru", "forget_bias:3"),
)
"""Cells and initialisations, by the names of gatelab.cells.INITS."""


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


# ---- two tasks -----------------------------------------------------------------------------------------------------


def marked_value(seed, B, T=25):
    """Long memory: values and one mark; the value at the mark is asked for at the end. ``(T, B, 2)``, ``(B, 1)``."""
    rng = generator(seed, "marked", B)
    value, at = rng.uniform(-1, 1, (T, B)), rng.integers(0, T, B)  # (T, B), (B,)
    mark = np.arange(T)[:, None] == at  # (T, B)
    return _tensors(np.stack([value, mark], axis=2), value[at, np.arange(B)])


def henon(seed, B, T=5):
    """Short memory: the next value of Hénon's map, which depends on the last two. ``(T, B, 1)``, ``(B, 1)``."""
    x = list(generator(seed, "henon", B).uniform(-0.1, 0.1, (2, B)))  # (B,) each
    for _ in range(50 + T):
        x.append(1 - 1.4 * x[-1] ** 2 + 0.3 * x[-2])
    return _tensors(np.stack(x[-T - 1 : -1])[:, :, None], x[-1])


def _tensors(x, y):
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]


class Task(NamedTuple):
    """A question, how many updates it gets, and below which error it counts as solved."""

    title: str
    draw: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]]
    inputs: int
    updates: int
    solved: float = 0.02


TASKS = (
    Task("short memory, the next value of Hénon's map from 5", henon, inputs=1, updates=200),
    Task("long memory, the marked one of 25 values at the end", marked_value, inputs=2, updates=160),
)


# ---- training ------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    """A recurrent layer and a linear readout of its last state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.readout = nn.Linear(layer.hidden_size, 1)

    def forward(self, x):
        """``x (T, B, I)`` to ``(B, 1)``."""
        output, _ = self.layer(x)  # (T, B, H)
        return self.readout(output[-1])


class Run(NamedTuple):
    """One training."""

    model: Model
    error: float  # mean squared, on new sequences
    solved: float  # updates until the task was first solved; infinite if it never was
    seconds: float


def size_for(name, inputs, parameters):
    """The hidden size with which a cell comes nearest to a number of parameters."""
    return min(range(1, 256), key=lambda H: abs(parameter_count(CELLS[name], inputs, H) - parameters))


def train(name, task, seed):
    """Adam with gradient clipping; new sequences at every update, so that nothing can be learned by heart."""
    torch.manual_seed(integer_seed(seed, name))
    model = Model(LAYERS[name](task.inputs, size_for(name, task.inputs, PARAMETERS), init="forget_bias:1"))
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.updates)
    x, y = task.draw(seed, B * task.updates)  # (T, N, I), (N, 1)
    new_x, new_y = task.draw(1000 + seed, 500)  # (T, N, I), (N, 1)
    solved, begun = np.inf, time.perf_counter()
    for update in range(1, task.updates + 1):
        batch = slice((update - 1) * B, update * B)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[:, batch]), y[batch]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if update % 20 == 0:
            with torch.no_grad():
                error = nn.functional.mse_loss(model(new_x), new_y).item()
            solved = min(solved, update if error < task.solved else np.inf)
    return Run(model, error, solved, time.perf_counter() - begun)


def compare(task):
    """Trains every cell with every seed and prints what came of it; gives the runs of each cell by seed."""
    runs = {name: {seed: train(name, task, seed) for seed in SEEDS} for name in LAYERS}
    print(f"\n   {task.title}: {task.updates} updates of {B} sequences\n")
    print("            H   parameters    error   95 % interval       solved   updates to solve   seconds")
    for name, of_seed in runs.items():
        found = estimate([np.log10(run.error) for run in of_seed.values()])  # errors differ by powers of ten
        solved = [run.solved for run in of_seed.values() if np.isfinite(run.solved)]
        count = sum(p.numel() for p in of_seed[1].model.parameters())
        sizes = f"{of_seed[1].model.layer.hidden_size:>5}{count:>13}"
        error = f"{10**found.mean:>9.4f}   {f'{10**found.low:.4f} to {10**found.high:.4f}':<17}"
        updates = f"{np.mean(solved):.0f}" if solved else "–"
        seconds = np.mean([run.seconds for run in of_seed.values()])
        print(f"   {CELLS[name].title:<5}{sizes}{error}{len(solved):>4} of {len(SEEDS)}{updates:>19}{seconds:>10.2f}")
    for label, error in baselines(task).items():
        print(f"   {label:<23}{error:>9.4f}")
    return runs


def baselines(task):
    """The error of what needs no network, on the same kind of sequences."""
    x, y = task.draw(0, 4000)  # (T, N, I), (N, 1)
    new_x, new_y = task.draw(1000, 4000)
    columns, new = (torch.cat([a.transpose(0, 1).flatten(1), torch.ones(a.shape[1], 1)], dim=1) for a in (x, new_x))
    weights = torch.linalg.lstsq(columns, y).solution  # (T·I + 1, 1)
    return {
        "mean": (new_y - y.mean()).square().mean().item(),
        "linear regression": (new_y - new @ weights).square().mean().item(),
    }


# ---- time ----------------------------------------------------------------------------------------------------------


def benchmark(T=50, B=32, I=16, parameters=16_000, seconds=0.6):  # noqa: E741
    """A pass forward and back of every cell, torch.nn's and gatelab.nn's in turns; gives gatelab's milliseconds."""
    x = torch.randn(T, B, I)  # (T, B, I)
    print(
        f"\n2. TIME: a pass forward and back, T = {T}, B = {B}, I = {I}, about {parameters:,} parameters, one thread\n"
    )
    print("            H   parameters      torch.nn    gatelab.nn   torch over gatelab   largest difference")
    took, same_code = {}, []
    for name in LAYERS:
        H = size_for(name, I, parameters)
        torchs, ours = TORCHS[name](I, H), LAYERS[name](I, H)
        ours.load_state_dict(torchs.state_dict())
        contenders = [Contender("torch", partial(passed, torchs, x)), Contender("gatelab", partial(passed, ours, x))]
        check_equal(contenders)  # no time without equality
        theirs, took[name] = 1000 * np.median(alternate(contenders, seconds), axis=0)
        gap = max(apart(a, b) for a, b in zip(*(c.results().values() for c in contenders), strict=True))
        same_code += [CELLS[name].title] * (gap == 0)
        times = f"{theirs:>11.2f} ms{took[name]:>11.2f} ms{theirs / took[name]:>21.2f}"
        print(f"   {CELLS[name].title:<5}{H:>5}{parameter_count(CELLS[name], I, H):>13,}{times}{gap:>21.0e}")
    if same_code:
        say(
            f"Not a bit differs for the {' and '.join(same_code)}: at this size gatelab.nn uses torch's own code, and "
            "what its ratio is off 1 is the noise of this machine."
        )
    return took


def apart(a, b):
    """The largest difference of two tensors, as a share of the largest entry."""
    return ((a - b).abs().max() / a.abs().max()).item()


def passed(layer, x):
    """The outputs of a layer, and the gradients of its weights."""
    layer.zero_grad()
    output, _ = layer(x)  # (T, B, H)
    output.sum().backward()
    return {"output": output.detach()} | {f"∂{name}": p.grad for name, p in layer.named_parameters()}


# ---- the gradient that comes back ----------------------------------------------------------------------------------


def gradient_share(model, x):
    """‖∂loss/∂state_k‖ of every step k relative to the last one, over the batch: ``(T,)``; the loss is the answer.

    The state is the one that remembers: c of the LSTM, h of the others. In float64, for in float32 it may be zero.
    """
    model.double()
    with gatelab.nn.trace(model) as trace:
        model(x.double()).sum().backward()
    norm = trace["layer"]["l0"].gradient_norm("c" if model.layer.cell == "lstm" else "h", per_item=False)  # (T,)
    return (norm / norm[-1]).numpy()


def fresh(name, init, inputs, H=16):
    """An untrained model for every seed."""
    models = []
    for seed in SEEDS:
        torch.manual_seed(integer_seed(seed, "start"))
        models.append(Model(LAYERS[name](inputs, H, init=init)))
    return models


def show_gradient(runs, task):
    """How much of the gradient of the answer comes back, at several starts and after training."""
    back = (1, 5, 10, 20)
    x, _ = task.draw(2000, 100)  # (T, B, I)
    print("\n3. HOW MUCH OF THE GRADIENT COMES BACK, long memory, geometric mean over seeds 1 to 5\n")
    print("   steps back                 " + "".join(f"{k:>10}" for k in back))
    models = {f"{CELLS[name].title}, {init}": fresh(name, init, task.inputs) for name, init in STARTS}
    models |= {f"{CELLS[name].title}, trained": [run.model for run in of.values()] for name, of in runs.items()}
    shares = {}
    for label, of_seed in models.items():
        shares[label] = np.exp(np.mean([np.log(gradient_share(model, x)) for model in of_seed], axis=0))  # (T,)
        print(f"   {label:<27}" + "".join(f"{shares[label][-1 - k]:>10.1e}" for k in back))
    start, randn = shares["RNN, torch"][-1 - 20], shares["RNN, small_normal"][-1 - 20]
    say(
        f"small_normal is the randn · 0.01 of many courses: 20 steps back it leaves {randn:.0e}, where torch's own "
        f"start leaves {start:.0e}. A comparison that starts an RNN so has killed it before it begins. Gates do not "
        "keep a gradient by themselves, either: compare the forget biases, and what training made of them."
    )


# ---- which to use when ---------------------------------------------------------------------------------------------


def advise(runs, took):
    """For every task the cells that are not told apart from the best one, and the fastest of them."""
    print("\n4. WHICH TO USE WHEN, by these measurements alone")
    for task, of_cell in zip(TASKS, runs, strict=True):
        errors = {name: {seed: np.log10(run.error) for seed, run in of.items()} for name, of in of_cell.items()}
        best = min(errors, key=lambda name: np.mean(list(errors[name].values())))
        told_apart = {frozenset((d.a, d.b)) for d in pairwise(errors) if d.found}
        level = [name for name in errors if name == best or frozenset((name, best)) not in told_apart]
        fastest = min(level, key=took.get)
        behind = [CELLS[name].title for name in errors if name not in level]
        found = f"Worse than it: {' and '.join(behind)}." if behind else "No difference was found between the cells."
        say(
            f"{task.title[0].upper() + task.title[1:]}: the {CELLS[best].title} has the smallest error. {found} "
            f"Of those not told apart from it ({', '.join(CELLS[name].title for name in level)}), the "
            f"{CELLS[fastest].title} takes the least time at equal parameters."
        )
    say(
        "Differences are paired by seed, on the logarithm of the error, with Holm's correction at 5 %. Two tasks, one "
        "size and one learning rate are no law: ask your own data with `gatelab compare forecasting my.csv`."
    )


def main():
    """Error, time, gradient, and what follows from them."""
    torch.set_num_threads(1)  # networks as small as these lose time to more
    print(
        f"1. ERROR: about {PARAMETERS} parameters, Adam at {RATE}, forget bias 1; mean squared error on new sequences,"
    )
    print("   geometric mean over seeds 1 to 5")
    runs = [compare(task) for task in TASKS]
    took = benchmark()
    show_gradient(runs[1], TASKS[1])
    advise(runs, took)


if __name__ == "__main__":
    main()
