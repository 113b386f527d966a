"""Reading both ways, layers on one another, attention: each beside the plain network that it should beat.

    python examples/05_advanced_examples.py

An addition to a network is worth what it gains over the same network without it, at the same number of parameters, over
several seeds. So each of the three parts has its baseline, its interval, and a sentence that says what was found, which
may be nothing.

T steps, B sequences, I inputs, H units, D directions.
"""

import textwrap

import numpy as np
import torch
from torch import nn

import gatelab.nn
from gatelab.core.random import generator, integer_seed
from gatelab.studies.statistics import estimate, pairwise

SEEDS = range(1, 6)
B = 128


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


def train(build, draw, loss_of, updates, seed, learning_rate=0.015):
    """Adam with gradient clipping, new sequences at every update; gives the model and its score on other ones."""
    torch.manual_seed(integer_seed(seed, "model"))
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    x, y = draw(seed, B * updates)  # (T, N, I), (T, N) or (N,)
    for update in range(updates):
        batch = slice(update * B, (update + 1) * B)
        optimizer.zero_grad()
        loss_of(model(x[:, batch]), y[..., batch]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def compare(builds, draw, loss_of, score, updates):
    """Trains every model with every seed; the scores on new sequences by name and seed, and the models of seed 1."""
    scores, models = {name: {} for name in builds}, {}
    for name, build in builds.items():
        for seed in SEEDS:
            model = train(build, draw, loss_of, updates, seed)
            x, y = draw(1000 + seed, 500)
            with torch.no_grad():
                scores[name][seed] = score(model(x), y)
            models.setdefault(name, model)
    return scores, models


def show(scores, models, unit, floor):
    """Prints the scores; ``floor`` is what needs no network, by name."""
    print(f"\n                                        parameters   {unit:<10}   95 % interval over seeds")
    for name, value in floor.items():
        print(f"   {name:<37}{'–':>10}   {value:<10.4f}")
    for name, of_seed in scores.items():
        found, count = estimate(list(of_seed.values())), sum(p.numel() for p in models[name].parameters())
        high = min(found.high, 1.0) if unit == "accuracy" else found.high
        print(f"   {name:<37}{count:>10,}   {found.mean:<10.4f}   {found.low:.4f} to {high:.4f}")


def verdicts(scores, plain, higher_is_better):
    """What each model gained over the ``plain`` one, paired by seed, with Holm's correction, in words."""
    for difference in pairwise(scores):
        if plain in (difference.a, difference.b):
            gap = difference.seen_from(difference.b if difference.a == plain else difference.a)
            low, high = sorted((abs(gap.units.low), abs(gap.units.high)))
            word = "better" if (gap.units.mean > 0) == higher_is_better else "worse"
            by = f"is {word} than it by {abs(gap.units.mean):.4f} (95 % interval {low:.4f} to {high:.4f})"
            yield f"{gap.a} {by if gap.found else 'is not told apart from it'}"


# ---- 1. both ways --------------------------------------------------------------------------------------------------


class Tagger(nn.Module):
    """Recurrent layers, and scores for each step."""

    def __init__(self, layers, features, classes=1):
        super().__init__()
        self.layers = layers
        self.readout = nn.Linear(features, classes)

    def forward(self, x):
        """``x (T, B, I)`` to the scores of each step ``(T, B, K)``."""
        output, _ = self.layers(x)  # (T, B, D·H): with two directions, h of the way there and h of the way back
        return self.readout(output)


def more_before(seed, B, T=16):
    """At every step: were there more ones up to here than there are to come? ``(T, B, 1)``, ``(T, B)``."""
    ones = generator(seed, "ones", B).integers(0, 2, (T, B))  # (T, B)
    up_to = ones.cumsum(0)  # (T, B)
    more = up_to > ones.sum(0) - up_to  # (T, B)
    return torch.tensor(ones[:, :, None], dtype=torch.float32), torch.tensor(more, dtype=torch.float32)


def show_both_ways():
    """A GRU that reads forward beside one that reads both ways, and the best that reading forward can do."""
    print("1. BOTH WAYS: more ones up to here than still to come? 16 steps, 70 updates of 128, seeds 1 to 5")
    x, y = more_before(0, 4000)  # (T, B, 1), (T, B)
    to_come = torch.arange(len(x) - 1, -1, -1)[:, None] / 2  # (T, 1) what to expect of bits not yet seen
    guess = x[:, :, 0].cumsum(0) > to_come  # (T, B)
    builds = {
        "GRU, forward, H = 20": lambda: Tagger(gatelab.nn.GRU(1, 20), 20),
        "GRU, both ways, H = 13": lambda: Tagger(gatelab.nn.GRU(1, 13, bidirectional=True), 26),
    }
    loss = lambda scores, y: nn.functional.binary_cross_entropy_with_logits(scores[:, :, 0], y)  # noqa: E731
    score = lambda scores, y: ((scores[:, :, 0] > 0) == (y > 0.5)).float().mean().item()  # noqa: E731
    scores, models = compare(builds, more_before, loss, score, updates=70)
    best_forward = (guess == (y > 0.5)).float().mean().item()
    always = max(y.mean().item(), 1 - y.mean().item())
    show(
        scores,
        models,
        "accuracy",
        {"always the commoner answer": always, "best rule that looks back only": best_forward},
    )
    plain, both = scores
    mean = np.mean(list(scores[both].values()))
    say(
        f"Beside {plain}: {'; '.join(verdicts(scores, plain, True))}. Who reads forward alone cannot beat the "
        f"rule, for the bits to come are tossed coins: {best_forward:.4f}. Reading both ways gives {mean:.4f}. The "
        "price: it needs the whole sequence, so it is nothing for forecasts or live data."
    )


# ---- 2. layers on one another --------------------------------------------------------------------------------------


def parity(seed, B, T=32):
    """At every step: do the bits two and four steps back differ? ``(T, B, 1)``, ``(T, B)``; 0 before there are four."""
    bits = generator(seed, "bits", B).integers(0, 2, (T, B))  # (T, B)
    differ = np.zeros_like(bits)  # (T, B)
    differ[4:] = bits[2:-2] ^ bits[:-4]
    return torch.tensor(bits[:, :, None], dtype=torch.float32), torch.tensor(differ)


def show_layers():
    """One layer and two at equal parameters."""
    print("\n2. LAYERS ON ONE ANOTHER: do the bits 2 and 4 steps back differ? 120 updates of 128, seeds 1 to 5")
    builds = {
        "GRU, 1 layer, H = 24": lambda: Tagger(gatelab.nn.GRU(1, 24), 24, 2),
        "GRU, 2 layers, H = 14": lambda: Tagger(gatelab.nn.GRU(1, 14, num_layers=2), 14, 2),
    }
    loss = lambda scores, y: nn.functional.cross_entropy(scores.flatten(0, 1), y.flatten())  # noqa: E731
    score = lambda scores, y: (scores.argmax(2) == y).float().mean().item()  # noqa: E731
    scores, models = compare(builds, parity, loss, score, updates=120)
    _, y = parity(0, 4000)
    commonest = y.flatten().bincount().max().item() / y.numel()
    show(scores, models, "accuracy", {"always the commonest answer": commonest})
    plain = next(iter(scores))
    say(
        f"Beside {plain}: {'; '.join(verdicts(scores, plain, True))}. Depth is a choice to be measured like any other: "
        "more layers of fewer units are another network, not a better one by rule."
    )


# ---- 3. attention --------------------------------------------------------------------------------------------------


class AdditiveAttention(nn.Module):
    """A mean over the steps, weighted by how well each one answers a query (Bahdanau et al. 2015, arXiv:1409.0473).

    e_t = v · tanh(W h_t + U q),   α = softmax(e),   context = Σ α_t h_t
    """

    def __init__(self, hidden_size, size=16):
        super().__init__()
        self.W = nn.Linear(hidden_size, size)
        self.U = nn.Linear(hidden_size, size, bias=False)
        self.v = nn.Linear(size, 1, bias=False)

    def forward(self, states, query):
        """``states (T, B, H)`` and ``query (B, H)`` to the context ``(B, H)`` and the weights ``(T, B)``."""
        weights = self.v(torch.tanh(self.W(states) + self.U(query))).softmax(0)  # (T, B, 1)
        return (weights * states).sum(0), weights[:, :, 0]


class Answer(nn.Module):
    """A GRU, and a linear readout of its last state, of the mean of its states, or of what attention makes of them."""

    def __init__(self, hidden_size, pooling):
        super().__init__()
        self.layer = gatelab.nn.GRU(2, hidden_size)
        self.pooling = pooling
        self.attention = AdditiveAttention(hidden_size) if pooling == "attention" else None
        self.readout = nn.Linear(hidden_size, 1)

    def forward(self, x):
        """``x (T, B, 2)`` to ``(B,)``; the weights of the last call stay in ``weights (T, B)``."""
        states, _ = self.layer(x)  # (T, B, H)
        if self.attention is not None:
            pooled, self.weights = self.attention(states, states[-1])  # (B, H), (T, B)
        else:
            pooled = states[-1] if self.pooling == "last" else states.mean(0)  # (B, H)
        return self.readout(pooled)[:, 0]


def marked_value(seed, B, T=40):
    """Values and one mark; the value at the mark is asked for at the end. ``(T, B, 2)``, ``(B,)``."""
    rng = generator(seed, "marked", B)
    value, at = rng.uniform(-1, 1, (T, B)), rng.integers(0, T, B)  # (T, B), (B,)
    x = np.stack([value, np.arange(T)[:, None] == at], axis=2)  # (T, B, 2)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(value[at, np.arange(B)], dtype=torch.float32)


def show_attention():
    """Last state, mean and attention on a value that lies up to 40 steps back; then where attention looks."""
    print("\n3. ATTENTION: the marked one of 40 values, asked for at the end, 80 updates of 128, seeds 1 to 5")
    builds = {
        "GRU, last state, H = 18": lambda: Answer(18, "last"),
        "GRU, mean of states, H = 18": lambda: Answer(18, "mean"),
        "GRU, additive attention, H = 12": lambda: Answer(12, "attention"),
    }
    error = nn.functional.mse_loss
    scores, models = compare(builds, marked_value, error, lambda said, y: error(said, y).item(), updates=80)
    _, y = marked_value(0, 4000)
    show(scores, models, "error", {"always the mean": y.var().item()})
    plain, _, attention = scores
    say(f"Beside {plain}: {'; '.join(verdicts(scores, plain, False))}.")
    show_weights(models[attention])


@torch.no_grad()
def show_weights(model):
    """Where attention looks in one sequence, and how often it looks at the mark."""
    x, y = marked_value(5000, 500)  # (T, B, 2), (B,)
    said = model(x)  # (B,)
    at, most = x[:, :, 1].argmax(0), model.weights.argmax(0)  # (B,) each
    item = int((at - 10).abs().argmin())  # one whose mark lies far back
    print(f"\n   Weights of attention in one sequence, of 0.01 or more; right: {y[item]:+.2f}, said: {said[item]:+.2f}")
    for t, weight in enumerate(model.weights[:, item].tolist()):
        if weight >= 0.01:
            mark = "   <- the mark" if t == at[item] else ""
            print(f"     step {t:>2}  value {x[t, item, 0]:+.2f}  {weight:.3f}  {'#' * round(40 * weight)}{mark}")
    share = (most == at).float().mean().item()
    on_mark = model.weights.gather(0, at[None])[0].mean().item()
    say(
        f"Over {len(y)} new sequences the mark gets {on_mark:.2f} of the weight on average (evenly spread it would be "
        f"{1 / len(x):.3f}); the heaviest step is the mark itself in {share:.0%}. Weights "
        "say where the network reads, not why: a state also holds what came before it."
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks as small as these lose time to more
    print("All are trained with Adam at 0.015, falling to 0 as a cosine, gradients clipped at a norm of 1.\n")
    show_both_ways()
    show_layers()
    show_attention()
