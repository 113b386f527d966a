"""What a language model writes, token by token: drawn by chance, or searched for by likelihood.

All that is known of a model is its step, ``(ids (B,), state) -> (log-probabilities (B, V), state)``: what it expects
after one more token, in nats. A token costs one step, however long the text is already.

B texts side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from gatelab.core.errors import InputError
from gatelab.tasks.language.config import Generation

Array = np.ndarray


class Step(Protocol):
    """A model, one token further in each of B texts."""

    def __call__(self, ids: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """From ``ids (B,)`` and the state before them to log-probabilities ``(B, V)`` and the state after them.

        A state is a tensor whose last two axes are ``(B, H)``, or nested tuples and lists of such; None is the
        beginning.
        """
        ...


class Heard(NamedTuple):
    """One text so far, as the model has read it."""

    log_probabilities: Array  # (V,) of what comes next
    state: Any
    seen: Array  # (V,) bool: the tokens that a repetition penalty is for


class Token(NamedTuple):
    """A token that was drawn."""

    text: int
    """The number of the text it belongs to."""
    id: int
    log_probability: float
    """In nats, of this token after all before it, as the model has it: whatever the settings made of it."""


class Written(NamedTuple):
    """A whole text after the prompt."""

    ids: list[int]
    """Without the end."""
    log_probability: float
    """In nats, of the text given the prompt, as the model has it; of its end too, where it ended."""
    ended: bool
    """Whether it stopped by itself; no: at ``max_length``."""


@torch.no_grad()
def read(step: Step, ids: Sequence[int], unpenalised: Sequence[int] = ()) -> Heard:
    """What the model expects after ``ids``, one token or more, from the beginning.

    Args:
        step: the model.
        ids: tokens of the prompt, the token for the beginning of a text first where the model knows one.
        unpenalised: tokens that may be repeated, such as that for beginning and end.
    """
    state, expected = None, None
    for number in ids:
        expected, state = step(torch.tensor([number]), state)  # (1, V)
    if expected is None:
        raise InputError("nothing was read, and so nothing is expected", fix="read one token or more")
    log_probabilities = _array(expected)[0]  # (V,)
    seen = np.zeros(len(log_probabilities), bool)  # (V,)
    seen[list(ids)] = True
    seen[list(unpenalised)] = False
    return Heard(log_probabilities, state, seen)


# ---- drawing ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def draw(
    step: Step,
    heard: Heard,
    how: Generation,
    rngs: Sequence[np.random.Generator],
    end: int | None = None,
    forbidden: Sequence[int] = (),
) -> Iterator[Token]:
    """Texts that go on after what was heard, one for each of ``rngs``, in step with one another.

    Tokens come as they are drawn. A text stops after its token ``end``, which comes too, or after ``how.max_length``
    others. Each text draws one number a token from its own stream: another beside it changes nothing.

    Args:
        step: the model.
        heard: the prompt.
        how: the settings, without ``beam``.
        rngs: random streams.
        end: the token that ends a text; None: a text has no end of its own.
        forbidden: tokens that are never written, such as that for unknown words.
    """
    texts = np.arange(len(rngs))  # (B,)
    expected, state, seen = _repeated(heard, len(rngs))  # (B, V), …, (B, V)
    for length in range(1, how.max_length + 1):
        chances = probabilities(expected, seen, how, forbidden)  # (B, V)
        ids = _chosen(chances, [rngs[text] for text in texts.tolist()])  # (B,)
        rows = np.arange(len(ids))  # (B,)
        for text, number, log_probability in zip(texts, ids, expected[rows, ids], strict=True):
            yield Token(int(text), int(number), float(log_probability))
        seen[rows, ids] = True
        going = np.flatnonzero(ids != end)
        if len(going) == 0 or length == how.max_length:
            return
        texts, ids, seen = texts[going], ids[going], seen[going]
        output, state = step(torch.from_numpy(ids), take(state, going))
        expected = _array(output)  # (B, V)


def probabilities(expected: Array, seen: Array, how: Generation, forbidden: Sequence[int] = ()) -> Array:
    """The chance of each token to be drawn next, ``(B, V)``.

    Args:
        expected: the model's log-probabilities ``(B, V)``.
        seen: whether the repetition penalty is for a token, ``(B, V)``.
        how: the settings.
        forbidden: tokens without a chance.
    """
    scores = penalised(expected, seen, how.repetition_penalty, forbidden)  # (B, V)
    if how.temperature == 0:
        return (np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]).astype(float)
    scores = (scores - scores.max(axis=1, keepdims=True)) / how.temperature  # first subtracted: no overflow
    chances = np.exp(scores)  # (B, V)
    if how.top_k is not None or how.top_p is not None:
        chances = _likeliest(chances, how.top_k, how.top_p)
    return chances / chances.sum(axis=1, keepdims=True)


def penalised(expected: Array, seen: Array, penalty: float, forbidden: Sequence[int] = ()) -> Array:
    """Log-probabilities ``(B, V)`` after the penalty and without what is forbidden, normalised again."""
    scores = np.where(seen, expected * penalty, expected) if penalty != 1 else expected.copy()  # (B, V)
    scores[:, list(forbidden)] = -np.inf
    highest = scores.max(axis=1, keepdims=True)  # (B, 1)
    return scores - highest - np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))


def _likeliest(chances: Array, top_k: int | None, top_p: float | None) -> Array:
    """``chances (B, V)`` with 0 for all but the likeliest; of equal ones the first in the vocabulary stay.

    The nucleus is the smallest set of the likeliest whose sum reaches ``top_p`` (Holtzman et al. 2020, eq. 2): a token
    is in it as long as those before it do not reach ``top_p``. So the likeliest always is.
    """
    order = np.argsort(-chances, axis=1, kind="stable")[:, :top_k]  # (B, K)
    kept = np.take_along_axis(chances, order, axis=1)  # (B, K)
    if top_p is not None:
        sums = kept.cumsum(axis=1)  # (B, K)
        kept = np.where(sums - kept < top_p * sums[:, -1:], kept, 0.0)
    found = np.zeros_like(chances)  # (B, V)
    np.put_along_axis(found, order, kept, axis=1)
    return found


def _chosen(chances: Array, rngs: Sequence[np.random.Generator]) -> Array:
    """A token ``(B,)`` for each row, with these chances: where the sum of chances passes a uniform number."""
    sums = chances.cumsum(axis=1)  # (B, V)
    uniform = np.array([rng.random() for rng in rngs]) * sums[:, -1]  # (B,)
    below = np.minimum(uniform, np.nextafter(sums[:, -1], 0))  # (B,) rounding must not reach past the last token
    return (sums <= below[:, None]).sum(axis=1)


# ---- searching -------------------------------------------------------------------------------------------------------


class _Candidates(NamedTuple):
    """Texts that a beam search may go on with, the best first."""

    ids: list[list[int]]
    scores: Array  # (B,) by which they are ranked
    log_probability: Array  # (B,) as the model has it
    expected: Array  # (B, V)
    state: Any
    seen: Array  # (B, V)


class _Finished(NamedTuple):
    score: float
    text: Written


@torch.no_grad()
def search(
    step: Step, heard: Heard, how: Generation, count: int = 1, end: int | None = None, forbidden: Sequence[int] = ()
) -> list[Written]:
    """The likeliest texts that a beam of ``how.beam`` candidates finds, the likeliest first.

    A text is ranked by its log-probability and not by its length, under the repetition penalty where there is one.
    With as many candidates as there are texts this is exact. Those that end do not take a place in the beam from
    those that go on, and the search stops when nothing that goes on can still be among the best ``count``.

    Raises:
        InputError: more texts are asked for than there are candidates.
    """
    width = how.beam or 1
    if count > width:
        raise InputError(
            f"a beam of {width} candidates cannot give {count} texts", fix=f"ask for --beam {count} or more"
        )
    nothing = np.zeros(1)  # (B,)
    beam = _Candidates([[]], nothing, nothing, *_repeated(heard, 1))
    finished: list[_Finished] = []
    for length in range(1, how.max_length + 1):
        scores = beam.scores[:, None] + penalised(beam.expected, beam.seen, how.repetition_penalty, forbidden)  # (B, V)
        if end is not None:
            finished = _best([*finished, *_endings(beam, scores[:, end], end)], count)
            scores[:, end] = -np.inf
        rows, ids = _top(scores, width)  # (B,) each
        if len(rows) == 0 or (len(finished) == count and scores[rows[0], ids[0]] <= finished[-1].score):
            return [entry.text for entry in finished]
        beam = _longer(beam, scores, rows, ids)
        if length < how.max_length:
            output, state = step(torch.from_numpy(ids), beam.state)
            beam = beam._replace(expected=_array(output), state=state)
    texts = zip(beam.ids, beam.scores, beam.log_probability, strict=True)
    cut = [_Finished(float(score), Written(ids, float(total), False)) for ids, score, total in texts]
    return [entry.text for entry in _best([*finished, *cut], count)]


def _endings(beam: _Candidates, scores: Array, end: int) -> Iterator[_Finished]:
    """Each candidate, if it ended now; ``scores (B,)`` are those with the end."""
    log_probability = beam.log_probability + beam.expected[:, end]  # (B,)
    for ids, score, total in zip(beam.ids, scores, log_probability, strict=True):
        if score > -np.inf:
            yield _Finished(float(score), Written(ids, float(total), True))


def _longer(beam: _Candidates, scores: Array, rows: Array, ids: Array) -> _Candidates:
    """The candidates ``rows`` with one of ``ids`` each; what is expected after it is still unknown."""
    seen = beam.seen[rows]  # (B, V)
    seen[np.arange(len(ids)), ids] = True
    longer = [[*beam.ids[row], number] for row, number in zip(rows, ids.tolist(), strict=True)]
    log_probability = beam.log_probability[rows] + beam.expected[rows, ids]  # (B,)
    return _Candidates(longer, scores[rows, ids], log_probability, beam.expected, take(beam.state, rows), seen)


def _top(scores: Array, width: int) -> tuple[Array, Array]:
    """Rows and columns of the ``width`` highest of ``scores (B, V)``, the highest first; none that is −∞."""
    flat = scores.ravel()  # (B·V,)
    highest = np.argpartition(-flat, width)[:width] if width < len(flat) else np.arange(len(flat))  # (width,)
    order = highest[np.argsort(-flat[highest], kind="stable")]
    return np.divmod(order[flat[order] > -np.inf], scores.shape[1])


def _best(finished: list[_Finished], count: int) -> list[_Finished]:
    return sorted(finished, key=lambda entry: -entry.score)[:count]


# ---- states ----------------------------------------------------------------------------------------------------------


def take(state: Any, rows: Array) -> Any:
    """The rows of a state: along the axis before the last of each of its tensors."""
    if isinstance(state, Tensor):
        return state.index_select(-2, torch.from_numpy(rows).to(state.device))
    if isinstance(state, (tuple, list)):
        return tuple(take(part, rows) for part in state)
    return state


def _repeated(heard: Heard, count: int) -> tuple[Array, Any, Array]:
    """The same text ``count`` times: what is expected ``(B, V)``, the state, what was seen ``(B, V)``."""
    rows = np.zeros(count, np.int64)  # (B,)
    return heard.log_probabilities[None][rows], take(heard.state, rows), heard.seen[None][rows]


def _array(log_probabilities: Tensor) -> Array:
    """In float64, where sums over a whole vocabulary keep their digits."""
    return log_probabilities.double().cpu().numpy()
