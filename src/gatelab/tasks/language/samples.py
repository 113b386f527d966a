"""What a model writes, kept beside its scores: an example to read, or lines to count beside real ones.

Scores keep arrays of numbers alone, so texts are kept as the numbers of their tokens, end to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.core.printable import LINES, printable
from gatelab.core.task import Evaluation
from gatelab.data.ragged import Ragged
from gatelab.data.tokens import END, Tokenizer
from gatelab.report.page import Code, Figure, Section, Table
from gatelab.report.plots import Line, line_chart
from gatelab.report.text import number
from gatelab.tasks.language.config import Generation
from gatelab.tasks.language.generate import drawn
from gatelab.tasks.language.search import Step, read

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]

_TOKENS, _MOST_LINES, _FEWEST_LINES, _LONGEST = 20_000, 1000, 20, 1000
"""About how many tokens are written in lines; how many lines, and tokens of a line, at most."""
_STREAM_TOKENS, _SHOWN_LINES = 600, 24
_REAL = "real lines (test part)"


def of_stream(step: Step) -> dict[str, Array]:
    """One text from its beginning, drawn at temperature 1, as ``written (N,)``."""
    (text,) = drawn(step, _beginning(step), Generation(max_length=_STREAM_TOKENS), 1, seed=0)
    return {"written": np.array(text.ids, np.int32)}


def of_lines(step: Step, train: Ragged, test: Ragged) -> dict[str, Array]:
    """Up to a thousand lines drawn at temperature 1, and as many real ones to count beside them.

    Args:
        step: the model.
        train: numbers of the tokens of each training line, its last an end.
        test: of each line that they are shown beside.

    Returns:
        ``written (N,)``, the tokens of S lines without their ends; and of these and of M real ones, as ``written_…
        (S,)`` and ``real_… (M,)``: ``lengths`` without the end, ``new`` where a line is in none of the training part,
        ``again`` where it is like one before it.
    """
    longest = int(min(2 * max(train.lengths.max(), test.lengths.max()), _LONGEST))
    count = int(np.clip(_TOKENS / test.lengths.mean(), _FEWEST_LINES, _MOST_LINES))
    texts = drawn(step, _beginning(step), Generation(max_length=longest), count, seed=0)
    written = Ragged.of([[*text.ids, END] for text in texts], train.values.dtype)
    facts = {"written": np.concatenate([line[:-1] for line in written])}
    for name, lines in (("written", written), ("real", test[:count])):
        found = {"lengths": lines.lengths - 1, "new": ~_found(lines, train), "again": _again(lines)}
        facts |= {f"{name}_{fact}": values for fact, values in found.items()}
    return facts


def _beginning(step: Step) -> Any:
    return read(step, [END])


def _found(lines: Iterable[Array], among: Iterable[Array]) -> Array:
    """Whether each of ``lines`` is among others, ``(S,)``; the others are looked at once, and none is kept."""
    wanted = [line.tobytes() for line in lines]
    missing = set(wanted)
    for line in among:
        missing.discard(line.tobytes())
    return np.array([line not in missing for line in wanted], bool)


def _again(lines: Iterable[Array]) -> Array:
    """Whether each of ``lines`` is like one before it, ``(S,)``."""
    seen: set[bytes] = set()
    found = []
    for line in lines:
        found.append(line.tobytes() in seen)
        seen.add(line.tobytes())
    return np.array(found, bool)


# ---- report ----------------------------------------------------------------------------------------------------------


def section(tokenizer: Tokenizer, results: Results, best: str, chosen: Evaluation) -> Section | None:
    """What the networks wrote: none where they wrote nothing.

    Args:
        tokenizer: of the task.
        results: an evaluation per seed for each method.
        best: the method whose text is shown.
        chosen: the evaluation whose text is shown.
    """
    writers = {name: found for name, found in results.items() if found and "written" in found[0].arrays}
    if best not in writers:
        return None
    if "written_lengths" not in chosen.arrays:
        text = printable(tokenizer.decode(chosen.arrays["written"]), keep=LINES)
        shown = [Code(text, f"Drawn from {best} at temperature 1, from the beginning of a text.")]
    else:
        shown = [_lines_shown(tokenizer, best, chosen), _counted(writers), _lengths(writers)]
    return Section("What it writes", shown)


def _lines_shown(tokenizer: Tokenizer, best: str, chosen: Evaluation) -> Code:
    lengths, new = (chosen.arrays[name][:_SHOWN_LINES] for name in ("written_lengths", "written_new"))
    texts = np.split(chosen.arrays["written"][: lengths.sum()], lengths.cumsum()[:-1])
    marks = np.where(new, "  ", "* ")
    lines = [mark + printable(tokenizer.decode(ids)) for mark, ids in zip(marks, texts, strict=True)]
    return Code("\n".join(lines), f"The first lines drawn from {best} at temperature 1; * is in the training part.")


def _counted(writers: Results) -> Table:
    """How many lines are new, how many come again, how long they are; means over the seeds."""
    arrays = next(iter(writers.values()))[0].arrays
    rows = [[_REAL, *_facts("real", [arrays])]]
    rows += [[name, *_facts("written", [e.arrays for e in found])] for name, found in writers.items()]
    caption = (
        f"{len(arrays['written_lengths']):,} lines of each model and seed, drawn at temperature 1. A model that had "
        "learned lines by heart would write few that are not in the training part."
    )
    return Table(["", "not in the training part", "like one before", "mean length"], rows, caption)


def _facts(which: str, arrays: Sequence[Mapping[str, Array]]) -> list[str]:
    new, again, length = (float(np.mean([entry[f"{which}_{name}"].mean() for entry in arrays]))
                          for name in ("new", "again", "lengths"))  # fmt: skip
    return [f"{100 * new:.1f} %", f"{100 * again:.1f} %", number(length, 3)]


def _lengths(writers: Results) -> Figure:
    real = next(iter(writers.values()))[0].arrays["real_lengths"]
    pooled = {name: np.concatenate([e.arrays["written_lengths"] for e in found]) for name, found in writers.items()}
    longest = max(int(lengths.max()) for lengths in (real, *pooled.values()))
    at = np.arange(longest + 1)
    lines = [Line(name, at, np.bincount(lengths, minlength=longest + 1) / len(lengths))
             for name, lengths in {_REAL: real, **pooled}.items()]  # fmt: skip
    caption = "How long the lines are that the models write, beside those of the test part."
    return Figure(line_chart(lines, xlabel="tokens of a line", ylabel="share of the lines"), caption, caption)
