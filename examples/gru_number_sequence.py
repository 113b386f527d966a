"""A GRU learns to continue [2, 4] → 6, [7, 6] → 5, … and says what follows [10, 11]; in NumPy alone.

    python examples/gru_number_sequence.py

Here the steps differ from pair to pair, so that there is a rule to find: the last number plus the step, 2b − a. Adam on
the mean squared error; forward and backward by gatelab.cells, whose GRU is one screen of NumPy. The network is asked
inside of what it saw, outside of it, and in two ways; a straight line is asked the same.

(lstm_number_sequence.py is the simpler exercise, with one step for all, in PyTorch.)
"""

import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gatelab.cells import CELLS, backward, forward, initial_parameters, losses, optim, parameter_count, to_state_dict
from gatelab.core.random import generator
from gatelab.studies.statistics import estimate

SEEDS = range(3)
H = 12
GRU = CELLS["gru"]
STEPS = (-3, -2, -1, 1, 2, 3)
ASKED = 1  # where [10, 11] stands
QUESTIONS = np.array([[3.5, 4.5], [10, 11], [10, 12], [20, 21], [50, 49], [5, 15], [10, 30]])  # (Q, 2)


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


def pairs_within(low=0, high=9):
    """Every pair of whole numbers between ``low`` and ``high`` that lies one of ``STEPS`` apart: ``(B, 2)``."""
    numbers = range(low, high + 1)
    return np.array([(a, a + step) for a in numbers for step in STEPS if a + step in numbers], float)


def follows(pairs):
    """The rule, ``(B,)``."""
    return 2 * pairs[:, 1] - pairs[:, 0]


class Way(NamedTuple):
    """How a pair is shown to a network, and how its answer is meant."""

    shown: Callable[[np.ndarray], np.ndarray]
    """``pairs (B, 2)`` to what the network reads ``(B, 2)``."""
    told: Callable[[np.ndarray], np.ndarray]
    """``pairs (B, 2)`` to what it should say ``(B,)``."""
    meant: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """``pairs (B, 2)`` and what it said ``(B,)`` to the number that follows ``(B,)``."""


AS_NUMBERS = Way(
    shown=lambda pairs: pairs / 10,
    told=lambda pairs: follows(pairs) / 10,
    meant=lambda pairs, said: 10 * said,
)
AS_STEPS = Way(
    shown=lambda pairs: pairs - pairs[:, 1:],  # each number as seen from the last one
    told=lambda pairs: follows(pairs) - pairs[:, 1],
    meant=lambda pairs, said: pairs[:, 1] + said,
)


class Network:
    """A GRU that reads a pair number by number, and a linear readout of its last state; trained by hand."""

    def __init__(self, seed):
        rng = generator(seed, "numbers")
        self.gru = initial_parameters(GRU, 1, H, rng)
        self.readout = losses.LinearParams(rng.uniform(-1, 1, (1, H)) / np.sqrt(H), np.zeros(1))  # (O, H), (O,)

    def __call__(self, pairs):
        """``pairs (B, 2)`` to what follows, ``(B,)``."""
        (output, _), self.cache = forward(GRU, self.gru, pairs.T[:, :, None])  # (T, B, H), T = 2
        return losses.linear(self.readout, output[-1])[:, 0]

    def train(self, pairs, targets, steps=1000):
        """Adam on the mean squared error over all pairs."""
        optimizer = optim.Adam(self.named(self.gru, self.readout), learning_rate=0.01)
        for step in range(steps):
            optimizer.learning_rate = 0.01 * (1 - step / steps)  # down to zero, or the last steps only shake
            _, derror = losses.mean_squared_error(self(pairs), targets)  # (B,)
            h = self.cache.scans["l0"].states[-1].h  # (B, H)
            dh, dreadout = losses.linear_backward(self.readout, h, derror[:, None])  # (B, H)
            doutput = np.stack([np.zeros_like(dh), dh])  # (T, B, H): the loss sees the last state alone
            optimizer.step(self.named(backward(doutput, self.cache).params, dreadout))

    @staticmethod
    def named(gru, readout):
        """All arrays by name, for the optimizer."""
        return to_state_dict(gru) | {f"readout.{name}": array for name, array in readout._asdict().items()}


def ask(title, way, learn, held_out):
    """Trains a network for each seed and prints what it says; gives what follows [10, 11], and how far all is off."""
    networks = [Network(seed) for seed in SEEDS]
    for network in networks:
        network.train(way.shown(learn), way.told(learn))
    print(f"\n   {title}")
    for label, pairs in (("learned from", learn), ("held out", held_out)):
        misses = [said_by(network, way, pairs) - follows(pairs) for network in networks]  # (B,) each
        errors = ", ".join(f"{np.sqrt(np.mean(miss**2)):.4f}" for miss in misses)
        print(f"   root mean squared error by seed, pairs {label + ':':<15}{errors}")
    said = np.array([said_by(network, way, QUESTIONS) for network in networks])  # (seeds, Q)
    print("   asked         right   mean of seeds   95 % interval of the mean")
    for (a, b), right, column in zip(QUESTIONS, follows(QUESTIONS), said.T, strict=True):
        found, pair = estimate(column), f"[{a:g}, {b:g}]"
        print(f"   {pair:<14}{right:5g}{found.mean:16.3f}   {found.low:.3f} to {found.high:.3f}")
    return said.mean(0)[ASKED], np.abs(said - follows(QUESTIONS)).mean(0)


def said_by(network, way, pairs):
    """What follows each of ``pairs (B, 2)``, as a network sees it, ``(B,)``."""
    return way.meant(pairs, network(way.shown(pairs)))


def main():
    """Trains in two ways and asks both the same questions."""
    pairs = generator(0, "pairs").permutation(pairs_within())  # (B, 2)
    learn, held_out = pairs[len(pairs) // 4 :], pairs[: len(pairs) // 4]
    count = parameter_count(GRU, 1, H) + H + 1
    print(
        f"WHAT FOLLOWS [10, 11]?  GRU in NumPy, H = {H}, {count} parameters, Adam from 0.01, 1,000 steps, seeds 0 to 2"
    )
    print(f"{len(learn)} pairs from 0 to 9 to learn from, {len(held_out)} held out; steps {', '.join(map(str, STEPS))}")
    said, off = ask("1. The numbers, divided by 10", AS_NUMBERS, learn, held_out)
    say(
        f"What follows [10, 11]? The GRU says {said:.2f} (right: 12); the largest answer that it was taught is "
        f"{follows(learn).max():.0f}. The pairs held out lie among those it saw, and its errors there are as small as "
        f"shown; after [50, 49] it is off by {off[4]:.1f}. Dividing by 10 helps training, but moves the border of what "
        "was seen not at all."
    )
    said, off = ask("2. Each number as seen from the last one", AS_STEPS, learn, held_out)
    say(
        f"Now it says {said:.2f}, and after [50, 49] it is off by {off[4]:.3f}: where a pair lies no longer matters. "
        f"How far apart its numbers are still does: after [5, 15], a step it never saw, it is off by {off[5]:.1f}, and "
        f"after [10, 30] by {off[6]:.1f}. What generalises is a way of asking that leaves out what does not matter."
    )
    say_what_a_line_says(learn)


def say_what_a_line_says(learn):
    """A straight line by least squares, asked the same."""
    weights, *_ = np.linalg.lstsq(np.column_stack([learn, np.ones(len(learn))]), follows(learn), rcond=None)  # (3,)
    line = np.column_stack([QUESTIONS, np.ones(len(QUESTIONS))]) @ weights  # (Q,)
    a, b, bias = weights
    say(
        f"A straight line by least squares finds {a:.3f} · a + {b:.3f} · b + {bias:.3f} and is off by "
        f"{np.abs(line - follows(QUESTIONS)).max():.0e} at most. So this toy proves that hand-written gradients train "
        "a GRU. It is no reason to use one: put the simplest rule beside it first, and ask outside of what was seen."
    )


if __name__ == "__main__":
    main()
