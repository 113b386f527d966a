"""PyTorch's LSTM and GRU at work: their shapes, a sequence to continue, text to write, a series to forecast.

    python examples/03_pytorch_lstm_gru.py

Each network is a built-in layer and a linear readout, for the text inside gatelab.LanguageModel, and stands beside
what needs no network. No network is needed to fetch data, either: the text is Shakespeare where GATELAB_DATA names a
folder that holds it, and otherwise comes from a grammar on this page; the temperatures come with statsmodels.

T steps, B sequences, I inputs, H units, O outputs.
"""

import os
import textwrap
from pathlib import Path

import numpy as np
import torch
from statsmodels.datasets import elnino
from torch import nn

import gatelab
import gatelab.nn
from gatelab.core.random import generator, integer_seed
from gatelab.studies.statistics import estimate

SEED = 0
TEXT_EPOCHS = 3
LAYERS = {"LSTM": nn.LSTM, "GRU": nn.GRU}


def say(text):
    """Prints a paragraph."""
    print("\n" + textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


# ---- 1. the layers -------------------------------------------------------------------------------------------------


def show_layers(T=7, B=3, I=5, H=4):  # noqa: E741
    """What goes in, what comes out, how many numbers are learned; and gatelab's twins beside them."""
    torch.manual_seed(SEED)
    print(f"1. THE LAYERS: input (T, B, I) = ({T}, {B}, {I}), H = {H}, seed {SEED}\n")
    print("   layer   output       h_n          c_n          parameters   G·(HI + HH + 2H)   gatelab.nn differs by")
    x = torch.randn(T, B, I)  # (T, B, I)
    for (name, layer_of), gates in zip(LAYERS.items(), (4, 3), strict=True):
        layer = layer_of(I, H)
        output, state = layer(x)  # (T, B, H), (1, B, H) or a pair of them
        h, c = state if name == "LSTM" else (state, None)
        gap = (gatelab.nn.from_torch(layer)(x)[0] - output).abs().max().item()
        shapes = "".join(f"{'–' if s is None else tuple(s.shape)!s:<13}" for s in (output, h, c))
        count = sum(p.numel() for p in layer.parameters())
        print(f"   {name:<8}{shapes}{count:>10}   {gates * (H * I + H * H + 2 * H):>16}   {gap:>21.1e}")
    say(
        "output holds h of every step, h_n of the last one; the LSTM gives its cell c_n besides. With batch_first=True "
        "input and output are (B, T, …), but h_n and c_n stay (layers, B, H). gatelab.nn has the same names and "
        "weights, and opens the gates: with gatelab.nn.trace(layer) as trace: …"
    )


# ---- 2. a sequence to continue -------------------------------------------------------------------------------------


class Predictor(nn.Module):
    """A recurrent layer that reads a window, and a linear readout of its last state."""

    def __init__(self, layer_of, hidden_size, outputs=1):
        super().__init__()
        self.layer = layer_of(1, hidden_size)
        self.readout = nn.Linear(hidden_size, outputs)

    def forward(self, windows):
        """``windows (B, T)`` to ``(B, O)``."""
        output, _ = self.layer(windows.T.unsqueeze(2))  # (T, B, H)
        return self.readout(output[-1])


def train(model, windows, targets, epochs, learning_rate=0.01, B=128):
    """Adam on the mean squared error, in batches of ``B`` in a new order every epoch."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(windows)).split(B):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(windows[batch]), targets[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        schedule.step()
    return model.eval()


def windows_of(series, lookback, horizon=1):
    """Every window of a series and what follows it: ``(N, lookback)`` and ``(N, horizon)``, float32 tensors."""
    both = np.lib.stride_tricks.sliding_window_view(series, lookback + horizon)  # (N, lookback + horizon)
    both = torch.tensor(both, dtype=torch.float32)
    return both[:, :lookback], both[:, lookback:]


def henon(steps, rng):
    """The first coordinate of Hénon's map (1976), chaotic: x' = 1 − 1.4 x² + 0.3 x₋₁; scaled to about unit size."""
    x = [*rng.uniform(-0.1, 0.1, 2)]
    for _ in range(steps + 100):
        x.append(1 - 1.4 * x[-1] ** 2 + 0.3 * x[-2])
    return np.array(x[102:])  # (steps,) without the way to the attractor


def parting(series):
    """By how much Hénon's map parts two neighbours in a step, on average: exp of its Lyapunov exponent."""
    ahead, behind, grown = 1.0, 0.0, 0.0  # a small difference of the last two values, and the log of how much it grew
    for x in series:
        ahead, behind = -2.8 * x * ahead + 0.3 * behind, ahead
        size = np.hypot(ahead, behind)
        ahead, behind, grown = ahead / size, behind / size, grown + np.log(size)
    return np.exp(grown / len(series))


def linear_fit(windows, targets):
    """Linear autoregression by least squares, as a function like a model's."""
    weights = torch.linalg.lstsq(with_one(windows), targets).solution  # (lookback + 1, horizon)
    return lambda windows: with_one(windows) @ weights


def with_one(windows):
    """``(N, lookback)`` with a column of ones."""
    return torch.cat([windows, torch.ones(len(windows), 1)], dim=1)  # (N, lookback + 1)


def rmse(prediction, target):
    """Root of the mean squared error."""
    return (prediction - target).square().mean().sqrt().item()


def show_continuation(lookback=8):
    """One step ahead, then a free run in which each prediction is the next input."""
    series = henon(2500, generator(SEED, "henon"))
    windows, targets = windows_of(series[:1500], lookback)
    new_windows, new_targets = windows_of(series[1500:], lookback, 8)
    models = {"last value": lambda w: w[:, -1:], "linear autoregression": linear_fit(windows, targets)}
    for name, layer_of in LAYERS.items():
        torch.manual_seed(integer_seed(SEED, "henon", name))
        models[name] = train(Predictor(layer_of, 24), windows, targets, epochs=20)
    print(
        f"\n2. A SEQUENCE TO CONTINUE: Hénon's map, {len(windows)} windows of {lookback} steps, H = 24, seed {SEED}\n"
    )
    spread = new_targets[:, 0].std().item()
    print(f"   root mean squared error on new steps (the series itself has a standard deviation of {spread:.3f})")
    print("   steps ahead              " + "".join(f"{k:>9}" for k in range(1, 9)))
    with torch.no_grad():
        errors = {name: free_run_errors(model, new_windows, new_targets) for name, model in models.items()}
    for name, row in errors.items():
        print(f"   {name:<25}" + "".join(f"{e:9.4f}" for e in row))
    gain = errors["linear autoregression"][0] / min(errors["LSTM"][0], errors["GRU"][0])
    growth = np.mean([(errors[name][4] / errors[name][0]) ** 0.25 for name in LAYERS])
    say(
        f"One step ahead the better network errs {gain:.0f} times less than a line: the map has a square in it. Run "
        f"freely, it feeds on its own errors, and over the first five steps they grow {growth:.2f}-fold a step. The "
        f"map itself parts neighbours {parting(series):.2f}-fold a step. Where that is above 1, a sequence is chaotic: "
        "a good next step is not yet a good far future."
    )


def free_run_errors(model, windows, targets):
    """The error of a model 1, 2, … steps ahead, each step's prediction being the next one's input."""
    errors = []
    for step in range(targets.shape[1]):
        prediction = model(windows)  # (N, 1)
        errors.append(rmse(prediction[:, 0], targets[:, step]))
        windows = torch.cat([windows[:, 1:], prediction], dim=1)  # (N, lookback)
    return errors


# ---- 3. text to write ----------------------------------------------------------------------------------------------


GRAMMAR = (
    ("the baker", "a sailor", "my sister", "the old clock", "one red fox", "her brother", "the miller's cat"),
    ("carries", "forgets", "paints", "follows", "counts", "mends", "sells", "remembers"),
    ("a wooden boat", "seven green apples", "the long road", "every second star", "his letters", "the rain"),
    ("in the morning", "when it snows", "before the bell rings", "again and again", "after supper"),
)


def corpus(characters=250_000):
    """A text, its name, and how many bits a character are left to chance where that is known.

    Shakespeare where it lies in ``GATELAB_DATA``; otherwise sentences with one entry of each line of the grammar.
    """
    path = Path(os.environ.get("GATELAB_DATA", ""), "tiny_shakespeare", "input.txt")
    if path.is_file():
        return path.read_text(encoding="utf-8")[:characters], "Shakespeare", None
    rng = generator(SEED, "grammar")
    sentences = [" ".join(rng.choice(line) for line in GRAMMAR) + ".\n" for _ in range(characters // 45)]
    choices = np.log2(np.prod([len(line) for line in GRAMMAR]))  # bits a sentence
    return "".join(sentences), "a small grammar", choices / np.mean([len(sentence) for sentence in sentences])


def show_text():
    """How well the next character is known, on text that was not trained on; and what the network writes."""
    text, name, floor = corpus()
    model = gatelab.LanguageModel(
        cell="lstm", hidden_size=128, window=48, batch_size=32, learning_rate=4e-3, epochs=TEXT_EPOCHS, patience=None,
        documents="files", seed=SEED,
    )  # fmt: skip
    model.fit([text])
    print(f"\n3. TEXT TO WRITE: {name}, {len(text):,} characters, gatelab.LanguageModel, an LSTM, seed {SEED}\n")
    print(textwrap.fill("; ".join(model.notes_), 100, initial_indent="   ", subsequent_indent="   ") + "\n")
    scores = {label: evaluate("test").metrics["BPC"] for label, evaluate in model.task_.baselines().items()}
    best = min(scores, key=scores.__getitem__)
    scores["LSTM"] = model.evaluate()["BPC"]
    if floor is not None:
        scores["what the grammar leaves to chance"] = floor
    for label, score in scores.items():
        print(f"   bits a character on new text, {label:<33} {score:.2f}")
    known = set(text.split())
    for temperature in (0.5, 1.0):
        (written,) = model.generate("\n", temperature=temperature, max_length=300, seed=SEED)
        words = written.text.split()
        share = sum(word in known for word in words) / len(words)
        print(f"\n   temperature {temperature}, {share:.0%} of the words occur in the text it learned from:\n")
        print(textwrap.indent(written.text.strip(), "     | "))
    gap = scores[best] - scores["LSTM"]
    say(
        f"After {TEXT_EPOCHS} passes over the text the LSTM knows the next character {abs(gap):.2f} bits "
        f"{'better' if gap > 0 else 'worse'} than the {best}, which counts what followed the four characters before. "
        "It has learned which letters follow which; nothing here shows that it knows what they mean."
    )


# ---- 4. a series to forecast ---------------------------------------------------------------------------------------


def show_forecast(lookback=24, horizon=12, seeds=3):
    """Sea temperatures twelve months ahead: the networks, and four ways that need none."""
    months = elnino.load_pandas().data.drop(columns="YEAR").to_numpy().ravel()  # (N,) °C, January 1950 to 2010
    start_of_test = len(months) * 8 // 10
    mean, scale = months[:start_of_test].mean(), months[:start_of_test].std()  # from the training part alone
    scaled = (months - mean) / scale  # (N,)
    windows, targets = windows_of(scaled[:start_of_test], lookback, horizon)
    new_windows, new_targets = windows_of(scaled[start_of_test - lookback :], lookback, horizon)
    score = lambda prediction: rmse(prediction, new_targets) * scale  # noqa: E731 in °C
    line = linear_fit(windows, targets)
    scores = {
        "last value": [score(new_windows[:, -1:])],
        "same month of last year": [score(new_windows[:, -12:])],
        "linear autoregression": [score(line(new_windows))],
    }
    for name, layer_of in LAYERS.items():
        scores[name] = []
        for seed in range(seeds):
            torch.manual_seed(integer_seed(seed, "forecast", name))
            model = train(Predictor(layer_of, 16, horizon), windows, targets, epochs=30)
            with torch.no_grad():
                scores[name].append(score(model(new_windows)))
    print(f"\n4. A SERIES TO FORECAST: sea temperature off Peru, {horizon} months ahead from {lookback}, H = 16\n")
    print(
        f"   root mean squared error in °C, last {len(months) - start_of_test} of {len(months)} months; "
        f"networks: mean of seeds 0 to {seeds - 1}"
    )
    means = {name: estimate(values) for name, values in scores.items()}
    for name, found in means.items():
        interval = "" if found.low is None else f"   95 % interval of the mean {found.low:.3f} to {found.high:.3f}"
        print(f"   {name:<25} {found.mean:.3f}{interval}")
    best = min((found.mean, name) for name, found in means.items() if name not in LAYERS)
    for name in LAYERS:
        found = means[name]
        verdict = "beats" if found.high < best[0] else "loses to" if found.low > best[0] else "is not told apart from"
        say(f"The {name} {verdict} {best[1]}, the best without a network ({found.mean:.3f} against {best[0]:.3f} °C).")


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks as small as these lose time to more
    show_layers()
    show_continuation()
    show_text()
    show_forecast()
