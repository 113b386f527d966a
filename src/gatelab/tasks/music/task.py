"""Music as a task: what training, compare and the reports ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import sha256
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_packed_sequence

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.random import generator
from gatelab.core.task import Evaluation, Loss, Part, Task
from gatelab.tasks.music import baselines, figures, scores
from gatelab.tasks.music.baselines import Guess, Pairs
from gatelab.tasks.music.batches import RollBatch
from gatelab.tasks.music.config import MusicConfig
from gatelab.tasks.music.model import MusicNet, step_loss
from gatelab.tasks.music.predict import predict_rolls
from gatelab.tasks.music.rolls import KEYS, PARTS, Parts, read_pieces

Array = np.ndarray
_SCORED_AT_ONCE = 64
_BATCH_STEPS, _UPDATES = 1_000, 5_000  # what chorales and folk tunes need to be learned well


class Music(Task):
    """Which of 88 keys sound at the next step of a piece."""

    name: ClassVar[str] = "music"
    Config: ClassVar[type] = MusicConfig
    metrics = scores.METRICS

    def __init__(
        self, config: MusicConfig, log_odds: Array, notes: Sequence[str], data: str, rolls: Parts | None = None
    ):
        self.config, self.log_odds, self.notes, self._data = config, log_odds, list(notes), data
        self.rolls: Parts = rolls or {part: [] for part in PARTS}

    # ---- from data to task, and back ----------------------------------------------------------------------------

    @classmethod
    def open(cls, source: Any, config: MusicConfig) -> Music:
        """Reads the pieces, takes their division or makes one, and counts how often each key sounds in training.

        Raises:
            InputError: no such file or data set.
            DataError: no music, or too few pieces for three parts.
        """
        parts, notes = _divided(read_pieces(source), config)
        parts, said = _prepared(parts, config, needed=PARTS)
        after = Pairs.of(parts["train"]).after  # (N, 88)
        odds = baselines.log_odds(after.sum(axis=0, dtype=np.int64), len(after))  # (88,)
        return cls(config, odds, [*notes, *said], _digest(parts), parts)

    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Music:
        """The same task over other pieces.

        ``evaluate`` takes the test part of a source that has parts, else all pieces; ``update`` its training and
        validation parts, else nine tenths and the last tenth.
        """
        kept: tuple[Part, ...] = ("test",) if purpose == "evaluate" else ("train", "validation")
        divided = _newly_divided(read_pieces(source), purpose)
        only: Parts = {part: divided[part] if part in kept else [] for part in PARTS}
        parts, said = _prepared(only, self.config, needed=kept)
        return Music(self.config, self.log_odds, said, _digest(parts), parts)

    def state(self) -> dict[str, Any]:
        """Where the head starts, and a digest of the data: a run is tied to its data."""
        return {"log_odds": self.log_odds.tolist(), "notes": self.notes, "data": self._data}

    @classmethod
    def restore(cls, config: MusicConfig, state: Mapping[str, Any]) -> Music:
        """The task without data: able to ``build``, ``predict`` and ``reopen``."""
        return cls(config, np.array(state["log_odds"]), state["notes"], state["data"])

    def fingerprint(self) -> str:
        """Which data this task is about."""
        return self._data

    # ---- what the training loop needs ---------------------------------------------------------------------------

    def training_defaults(self) -> TrainingConfig:
        """Batches of about a thousand steps, whatever the length of the pieces, and some thousand batches in all."""
        rolls = self.rolls["train"]
        pieces = _BATCH_STEPS * max(len(rolls), 1) / max(sum(len(roll) - 1 for roll in rolls), 1)
        batch_size = int(np.clip(2 ** np.round(np.log2(pieces)), 1, 64))
        epochs = round(_UPDATES / max(self.count("train", batch_size), 1))
        return TrainingConfig(batch_size=batch_size, epochs=int(np.clip(epochs, 20, 100)), patience=20)

    def build(self, model: ModelConfig) -> MusicNet:
        """An encoder as ``model`` says, with a head of 88 keys."""
        return MusicNet(model, self.log_odds)

    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[RollBatch]:
        """Batches of whole pieces."""
        rolls = self.rolls[part]
        order = np.arange(len(rolls)) if rng is None else rng.permutation(len(rolls))  # (N,)
        for first in range(start * batch_size, len(rolls), batch_size):
            yield RollBatch.of([rolls[at] for at in order[first : first + batch_size]])

    def count(self, part: Part, batch_size: int) -> int:
        """Batches in a part."""
        return -(-len(self.rolls[part]) // batch_size)

    def loss(self, model: Any, batch: RollBatch, state: Any = None) -> Loss:
        """Mean negative log-likelihood of a step, in nats; every piece begins with an empty state."""
        found = step_loss(model(batch).data, batch.truth)  # (N,)
        return Loss(found.mean(), len(found))

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics over the steps of a part."""
        logits = np.concatenate(self.log_odds_of(model, self.rolls[part]))  # (N, 88)
        return self._score(logits, part)

    @torch.no_grad()
    def log_odds_of(self, model: Any, rolls: Sequence[Array]) -> list[Array]:
        """Log-odds ``(T, 88)``, float64, of what follows each of the first T steps of rolls ``(T + 1, 88)``."""
        device, training = next(model.parameters()).device, model.training
        model.eval()
        found: list[Array] = []
        for first in range(0, len(rolls), _SCORED_AT_ONCE):
            batch = RollBatch.of(rolls[first : first + _SCORED_AT_ONCE])
            padded, lengths = pad_packed_sequence(model(batch.to(device)))  # (T, B, 88), (B,)
            values = padded.cpu().double().numpy()  # (T, B, 88)
            found += [values[:length, item] for item, length in enumerate(lengths.tolist())]
        model.train(training)
        return found

    def _score(self, logits: Array, part: Part) -> Evaluation:
        shown = min(len(self.rolls[part][0]) - 1, figures.SHOWN)
        return scores.score(logits, Pairs.of(self.rolls[part]).after, shown)

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """Chance; and, where there is a training part, note frequencies, a Markov chain a key, logistic regression."""
        makers: dict[str, Callable[[], Guess]] = {"chance": lambda: baselines.chance}
        if self.rolls["train"]:
            train, validation = Pairs.of(self.rolls["train"]), Pairs.of(self.rolls["validation"])
            makers["note frequencies"] = lambda: baselines.frequencies(train)
            makers["note goes on"] = lambda: baselines.persistence(train)
            makers["logistic regression"] = lambda: baselines.logistic(train, validation)
        # Fitted once, however many parts are evaluated.
        return {name: partial(self._evaluate_baseline, cache(make)) for name, make in makers.items()}

    def _evaluate_baseline(self, make: Callable[[], Guess], part: Part) -> Evaluation:
        return self._score(make()(Pairs.of(self.rolls[part]).before), part)

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """What was expected beside what was played, and how hard each key is."""
        return figures.sections(results, list(self.baselines()), self.metrics[0])

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """A probability for each key at each next step: see ``predict_rolls``."""
        if future is not None:
            raise InputError("nothing is known ahead of music", got=future, fix="leave --future out")
        return predict_rolls(self, model, source)


def _divided(pieces: Parts | list[Array], config: MusicConfig) -> tuple[Parts, list[str]]:
    """Parts, and what was decided."""
    if isinstance(pieces, dict):
        return pieces, ["parts: as the data divides itself"]
    order = generator(0, "music", "parts").permutation(len(pieces))  # (N,)
    _, *held_out = (max(round(share / sum(config.split) * len(pieces)), 1) for share in config.split)
    chosen = np.split(order, [len(pieces) - sum(held_out), len(pieces) - held_out[-1]])
    shares = " : ".join(f"{share:g}" for share in config.split)
    parts: Parts = {part: [pieces[at] for at in sorted(which)] for part, which in zip(PARTS, chosen, strict=True)}
    return parts, [f"parts: pieces drawn at random, {shares}, always the same"]


def _newly_divided(pieces: Parts | list[Array], purpose: Literal["evaluate", "update"]) -> Parts:
    """New pieces by part: as the data has it, else all to be scored, or nine tenths and one to train on."""
    if isinstance(pieces, dict):
        return pieces
    if purpose == "evaluate":
        return {"train": [], "validation": [], "test": pieces}
    cut = len(pieces) - max(len(pieces) // 10, 1)
    return {"train": pieces[:cut], "validation": pieces[cut:], "test": []}


def _prepared(parts: Parts, config: MusicConfig, needed: Sequence[Part]) -> tuple[Parts, list[str]]:
    """The parts as the network reads them, and what is to be said of them.

    A silent step stands before each piece whose first step is to be predicted too. Pieces in which there is nothing
    to predict are left out.

    Raises:
        DataError: nothing is left of a part that is needed.
    """
    start = ((int(config.first_step), 0), (0, 0))
    longer: Parts = {part: [np.pad(roll, start) for roll in rolls] for part, rolls in parts.items()}
    kept: Parts = {part: [roll for roll in rolls if len(roll) > 1] for part, rolls in longer.items()}
    dropped = sum(len(parts[part]) - len(kept[part]) for part in PARTS)
    if empty := [part for part in needed if not kept[part]]:
        raise DataError(
            f"there are too few pieces: none for the {empty[0]} part",
            expected="at least one piece of two steps or more in each part",
            got=_counted(kept),
            fix="give more pieces, or other shares with --split",
        )
    left_out = [f"pieces of one step, which nothing follows, left out: {dropped}"] if dropped else []
    return kept, [*left_out, _counted(kept)]


def _counted(parts: Parts) -> str:
    counts = [f"{len(rolls):,} {part} ({sum(len(roll) - 1 for roll in rolls):,} steps predicted)"
              for part, rolls in parts.items() if rolls]  # fmt: skip
    return f"pieces of {KEYS} keys: {', '.join(counts) or 'none'}"


def _digest(parts: Parts) -> str:
    """Thirty-two hexadecimal digits that tell these pieces from others."""
    hasher = sha256()
    for part, rolls in parts.items():
        hasher.update(f"{part} {[len(roll) for roll in rolls]}".encode())
        for roll in rolls:
            hasher.update(np.ascontiguousarray(roll).tobytes())
    return hasher.hexdigest()[:32]
