"""``gatelab generate``: a language model writes, and its text is shown as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from gatelab.cli.console import note, say_json, say_piece
from gatelab.cli.parsing import Group, parse_groups
from gatelab.cli.tasks import run_folder
from gatelab.core.config import require
from gatelab.core.errors import RunError
from gatelab.core.files import finite
from gatelab.report.text import number
from gatelab.tasks.language.config import Generation

if TYPE_CHECKING:
    from gatelab.data.tokens import Tokenizer
    from gatelab.tasks.language.generate import Generated
    from gatelab.tasks.language.search import Step

_TEXT = "Lets a trained language model write, after a prompt or from the beginning of a text, until it ends it."
_EXAMPLES = (
    "gatelab generate runs/names --n 10",
    'gatelab generate runs/shakespeare --prompt "ROMEO:" --temperature 0.8 --max-length 500',
    "gatelab generate runs/names --prompt mar --beam 20 --n 5 --json",
)


@dataclass(frozen=True)
class Options:
    """A text."""

    folder: Positional[str]
    """Folder of a model for language, or of a comparison: then its best model."""
    prompt: str = ""
    """What the text begins with."""
    n: int = 1
    """Texts to write; with --beam, the likeliest of those found."""
    seed: int = 0
    """Of the random numbers: another seed, another text."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    json: bool = False
    """Print the texts with their log-probabilities as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab generate`` with ``argv`` and gives the exit code: 130 where Ctrl-C ended the text.

    Raises:
        InputError: an option that cannot be used, or a prompt that the model does not know.
        RunError: the folder holds no model, a damaged one, or one of another task.
    """
    writing = Group("writing", Generation)
    options, (how,) = parse_groups(Options, [writing], argv, command="generate", description=_TEXT, examples=_EXAMPLES)
    require(options.n >= 1, "n", "at least 1", options.n)
    writer = _writer(options)
    if options.json or how.beam is not None:
        return _write(writer, options, how)
    try:
        return _write_live(writer, options, how)
    except KeyboardInterrupt:
        say_piece("\n")
        return 130


def _writer(options: Options) -> tuple[Step, Tokenizer]:
    from gatelab.tasks.language.generate import Streamed
    from gatelab.tasks.loading import load

    folder = run_folder(Path(options.folder))
    loaded = load(folder, options.device)
    task: Any = loaded.task
    if task.name != "language":
        raise RunError(
            f"the model in {folder} writes no text: it is for {task.name}",
            expected="a model for language",
            fix="train one: gatelab fit language TEXT",
        )
    return Streamed(loaded.model), task.tokenizer


def _write(writer: tuple[Step, Tokenizer], options: Options, how: Generation) -> int:
    from gatelab.tasks.language.generate import generate

    found = generate(*writer, options.prompt, how, options.n, options.seed)
    if options.json:
        say_json([{"prompt": options.prompt, **finite(text._asdict())} for text in found])
        return 0
    for text in found:
        say_piece(f"{options.prompt}{text.text}\n")
        _say_facts(text)
    return 0


def _write_live(writer: tuple[Step, Tokenizer], options: Options, how: Generation) -> int:
    from gatelab.tasks.language.generate import Live

    for which in range(options.n):
        live = Live(*writer, options.prompt, how, which, options.seed)
        say_piece(options.prompt)
        for piece in live:
            say_piece(piece)
        say_piece("\n")
        _say_facts(live.result)
    return 0


def _say_facts(text: Generated) -> None:
    stop = "it ended there" if text.ended else "cut there: --max-length says how long"
    note(f"log-probability {number(text.log_probability)} nats, {text.tokens} tokens, {stop}")
