"""An LSTM learns [1, 2] → 3, [2, 3] → 4, … and says what follows [10, 11]; and what that does and does not prove.

    python examples/lstm_number_sequence.py

The first exercise of many courses: Adam on the mean squared error, a few pairs, one question. It shows that the parts
fit together. What it does not show is that the network understood the rule: it is asked here beyond the numbers it saw,
beside a straight line, and once more with the question put in another way.
"""

import textwrap

import numpy as np
import torch
from torch import nn

from gatelab.core.random import integer_seed
from gatelab.studies.statistics import estimate

SEEDS = range(5)
QUESTIONS = ((4, 5), (4.5, 5.5), (8, 9), (10, 11), (12, 13), (20, 21), (50, 51))
RIGHT = np.array([second + 1 for _, second in QUESTIONS])  # (Q,)
ASKED = QUESTIONS.index((10, 11))


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


class Successor(nn.Module):
    """An LSTM that reads the numbers one by one, and a linear readout of its last state."""

    def __init__(self, hidden_size=16):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size)
        self.readout = nn.Linear(hidden_size, 1)

    def forward(self, pairs):
        """``pairs (B, 2)`` to what follows, ``(B, 1)``."""
        output, _ = self.lstm(pairs.T.unsqueeze(2))  # (T, B, H), T = 2
        return self.readout(output[-1])

    @torch.no_grad()
    def ceiling(self):
        """The largest number it can say of anything: each unit of h lies in (−1, 1)."""
        return (self.readout.weight.abs().sum() + self.readout.bias).item()


def pairs_up_to(last):
    """[1, 2] → 3 up to [``last`` − 1, ``last``]: ``(B, 2)`` and ``(B, 1)``."""
    first = torch.arange(1.0, last).unsqueeze(1)  # (B, 1)
    return torch.cat([first, first + 1], dim=1), first + 2


def train(pairs, targets, seed, steps):
    """A network trained with Adam on the mean squared error over all pairs; and its last loss."""
    torch.manual_seed(integer_seed(seed, "numbers"))
    model = Successor()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(pairs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, loss.item()


@torch.no_grad()
def answers(models, scaled):
    """What each network says follows each of ``QUESTIONS``: ``(seeds, questions)``."""
    asked = torch.tensor(QUESTIONS, dtype=torch.float32)  # (Q, 2)
    return np.array([scaled(model, asked).squeeze(1).tolist() for model in models])


def show(title, models, losses, scaled):
    """A table of answers, which it gives: ``(seeds, questions)``."""
    print(f"\n   {title}")
    print(f"   mean squared error on the pairs it learned from, by seed: {', '.join(f'{loss:.0e}' for loss in losses)}")
    print("   asked         right   mean of seeds   lowest   highest   95 % interval of the mean")
    said = answers(models, scaled)  # (seeds, questions)
    for question, right, column in zip(QUESTIONS, RIGHT, said.T, strict=True):
        found = estimate(column)
        values = f"{right:>6}{found.mean:>16.3f}{column.min():>9.3f}{column.max():>10.3f}"
        print(f"   {list(question)!s:<13}{values}   {found.low:.3f} to {found.high:.3f}")
    return said


def main():
    """Trains on the pairs up to [8, 9], asks, and asks again in another way."""
    torch.set_num_threads(1)  # networks as small as these lose time to more
    pairs, targets = pairs_up_to(9)  # (8, 2), (8, 1)
    shown = ", ".join(f"[{a:.0f}, {b:.0f}] → {c:.0f}" for (a, b), (c,) in zip(pairs, targets, strict=True))
    print(f"WHAT FOLLOWS [10, 11]?  LSTM, H = 16, Adam at 0.02, seeds 0 to 4\nlearned from: {shown}")

    raw, losses = zip(*(train(pairs, targets, seed, steps=600) for seed in SEEDS), strict=True)
    said = show("1. The numbers as they are, 600 steps", raw, losses, lambda model, asked: model(asked))
    ceilings = ", ".join(f"{model.ceiling():.1f}" for model in raw)
    between = np.abs(said - RIGHT)[:, QUESTIONS.index((4.5, 5.5))].max()
    say(
        f"What follows [10, 11]? The LSTM says {said[:, ASKED].mean():.2f} (right: 12). Between the numbers that it "
        f"saw it errs by {between:.3f} at most; beyond them its answers bend, for every gate and every h is squashed. "
        f"No input whatever can make these networks say more than {ceilings}: that is what the weights of their "
        "readouts add up to."
    )
    show_line(pairs, targets, sum(p.numel() for p in raw[0].parameters()))

    steps, losses = zip(
        *(train(relative(pairs), targets - pairs[:, 1:], seed, steps=200) for seed in SEEDS), strict=True
    )
    title = "2. Asked for the step instead, 200 steps: the last number is taken off before, and added after"
    said = show(title, steps, losses, lambda model, asked: model(relative(asked)) + asked[:, 1:])
    say(
        f"Now it says {said[:, ASKED].mean():.3f}, and errs by {np.abs(said - RIGHT).max():.0e} at most, far out, too. "
        "But it was not the LSTM that found the rule: taking off the last number made all pairs the same pair, and "
        "left one number to learn."
    )
    say(
        "So this toy proves that data, loss, gradient and optimizer are wired together. It does not prove that the "
        "network generalises: for that, ask outside of what it saw, put the simplest rule beside it, and count seeds."
    )


def show_line(pairs, targets, parameters):
    """What a straight line by least squares says to the same questions."""
    columns = np.column_stack([pairs, np.ones(len(pairs))])  # (B, 3)
    (a, b, bias), *_ = np.linalg.lstsq(columns, targets[:, 0].numpy(), rcond=None)
    error = np.abs(np.array(QUESTIONS) @ [a, b] + bias - RIGHT).max()
    say(
        f"A straight line by least squares, {a:.3f} · first + {b:.3f} · second + {bias:.3f}, errs by {error:.0e} at "
        f"most on the same questions: it does with three numbers what these {parameters:,} did not."
    )


def relative(pairs):
    """Each pair as seen from its last number: ``(B, 2)``."""
    return pairs - pairs[:, 1:]


if __name__ == "__main__":
    main()
