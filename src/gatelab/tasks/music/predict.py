"""What comes next, at every step of new pieces and after their last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from gatelab.tasks.music.rolls import KEYS, key_name, read_pieces
from gatelab.tasks.music.scores import key_losses

if TYPE_CHECKING:
    from gatelab.tasks.music.task import Music

Array = np.ndarray
_NAMES = [key_name(key) for key in range(KEYS)]
_LIKELY = 6  # keys named in the brief view


def predict_rolls(task: Music, model: Any, source: Any) -> pd.DataFrame:
    """The probability of each key at each step of given pieces, told all steps before it.

    Args:
        task: the task the model was trained on.
        model: a trained ``MusicNet``.
        source: pieces as ``rolls.read_pieces`` takes them; of a source with parts, the test part.

    Returns:
        One row for each step from the second on (from the first, if the task predicts that), and one for the step
        after the last: ``piece`` and ``step`` from 1, ``played`` (the keys that sound there; empty after the last),
        ``expected`` (the likeliest keys with their probabilities), ``NLL`` of what was played in nats (NaN after the
        last), and the probability of every key in a column called by its name, ``A0`` … ``C8``
        (``C4`` is MIDI 60). ``attrs["brief"]`` has the columns that matter most, ``attrs["notes"]`` what was decided.

    Raises:
        InputError: no such file or data set.
        DataError: the source holds no music.
    """
    pieces = read_pieces(source)
    notes = ["the test part of these data"] if isinstance(pieces, dict) else []
    rolls = pieces["test"] if isinstance(pieces, dict) else pieces
    unknown = np.zeros((1, KEYS), np.uint8)  # (1, 88) stands for the step after the last, which nothing reads
    start = unknown[: int(task.config.first_step)]  # (0 or 1, 88)
    extended = [np.concatenate([start, roll, unknown]) for roll in rolls]
    frames = [
        _frame(number, 2 - len(start), logits, roll[1:-1])
        for number, (logits, roll) in enumerate(zip(task.log_odds_of(model, extended), extended, strict=True), 1)
    ]
    found = pd.concat(frames, ignore_index=True)
    found.attrs = {"brief": ["piece", "step", "played", "expected", "NLL"], "notes": notes}
    return found


def _frame(piece: int, first: int, logits: Array, played: Array) -> pd.DataFrame:
    """Rows of one piece: ``logits (T, 88)`` of steps ``first`` and on, of which ``played (T - 1, 88)`` are known."""
    probability = expit(logits)  # (T, 88)
    known = [_chord(row) for row in played]
    losses = key_losses(logits[:-1], played).sum(axis=1)  # (T - 1,)
    told = {
        "piece": piece,
        "step": np.arange(first, first + len(logits)),
        "played": [*known, ""],
        "expected": [_likeliest(row) for row in probability],
        "NLL": np.append(losses, np.nan),
    }
    return pd.concat([pd.DataFrame(told), pd.DataFrame(probability, columns=_NAMES)], axis=1)


def _chord(row: Array) -> str:
    """The keys that sound in ``row (88,)``, the lowest first; a dash for silence."""
    return " ".join(_NAMES[key] for key in np.flatnonzero(row)) or "–"


def _likeliest(row: Array) -> str:
    """The likeliest keys of ``row (88,)``, the likeliest first."""
    return " ".join(f"{_NAMES[key]} {row[key]:.2f}" for key in np.argsort(-row, kind="stable")[:_LIKELY])
