"""``gatelab study NAME | list``: the research questions, each answered by an experiment that anyone can run again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gatelab.cli.console import out, say, say_json, say_table
from gatelab.cli.parsing import parse
from gatelab.core.errors import InputError, RunError
from gatelab.studies import QUESTIONS

if TYPE_CHECKING:
    from gatelab.studies.listing import Entry, Time

_TEXT = "Answers a question about recurrent networks with trials, intervals and a verdict in words."
_EXAMPLE = "gatelab study gradients --budget quick"


@dataclass(frozen=True)
class Options:
    """How thoroughly the question is looked into."""

    seeds: tuple[int, ...] | None = None
    """One number: how many; several: which, such as 1,2,7. None: 5 (with --budget quick 3, full 10)."""
    budget: str = "standard"
    """quick, standard or full."""
    cells: tuple[str, ...] | None = None
    """Cells to look at, where the study compares cells; none: those of the study."""
    jobs: int | None = None
    """Trials at a time, one thread each; none: one for each physical core."""
    out: str | None = None
    """Folder of the study; none: runs/study-NAME. What is in it already is not run again."""
    retry: bool = False
    """Run trials once more that failed or hung before."""
    write: str | None = None
    """Also write the report as Markdown to this file, such as docs/claims.md, with its pictures in a folder beside."""
    json: bool = False
    """Print the results as JSON, and nothing else, to stdout."""


@dataclass(frozen=True)
class ListOptions:
    """How the questions are shown."""

    jobs: int | None = None
    """Trials at a time that the times are for; none: one for each physical core."""
    json: bool = False
    """Print the list as JSON."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab study`` with ``argv`` and gives the exit code.

    Raises:
        InputError: no such study, or an option that cannot be used.
        RunError: not one trial finished.
    """
    names = ", ".join(QUESTIONS)
    if argv and argv[0] in ("--help", "-h"):
        say("usage: gatelab study NAME …", "       gatelab study list", "", _TEXT, "", f"studies: {names}", "")
        say("`gatelab study NAME --help` shows the options.", "", "examples:", f"  {_EXAMPLE}")
        return 0
    if not argv or argv[0].startswith("-"):
        raise InputError("gatelab study needs a name as its first word", expected=f"list, or one of {names}",
                         fix=f"try: {_EXAMPLE}")  # fmt: skip
    if argv[0] == "list":
        _list(parse(ListOptions, argv[1:], command="study list", description="What each study asks and last found."))
        return 0
    QUESTIONS.check(argv[0])
    options = parse(Options, argv[1:], command=f"study {argv[0]}", description=_TEXT)
    return _study(argv[0], options, shlex.join(["gatelab", "study", *argv]))


def _study(name: str, options: Options, command: str) -> int:
    from gatelab.report import save_markdown
    from gatelab.studies.answer import study

    values = {key: value for key, value in vars(options).items() if key not in ("json", "seeds", "write")}
    seeds = options.seeds[0] if options.seeds and len(options.seeds) == 1 else options.seeds
    answer = study(name, seeds=seeds, **values, quiet=False, command=command)
    if options.write:
        save_markdown(answer.page, options.write)
    say_json(dict(answer.results)) if options.json else answer.show(out)
    if not answer.findings:
        failed = answer.results["failed"]
        raise RunError(
            "not one trial finished",
            got=failed[0]["message"] if failed else None,
            fix=f"see {answer.report}; mend the cause, then repeat the command with --retry",
        )
    return 0


def _list(options: ListOptions) -> None:
    from gatelab.studies.listing import overview

    entries = overview(options.jobs)
    if options.json:
        say_json([asdict(entry) for entry in entries])
        return
    budgets = list(entries[0].times)
    rows = [[entry.name, entry.question, *(_time(entry.times[budget]) for budget in budgets), _found(entry)]
            for entry in entries]  # fmt: skip
    say_table(["study", "asks", *budgets, "last found"], rows, right=budgets)
    say("", "Times: ~ is derived from the reference machine by a measured speed; without it, measured here.")


def _time(time: Time) -> str:
    from gatelab.report.text import duration

    return ("~" if time.basis == "derived" else "") + duration(time.seconds)


def _found(entry: Entry) -> str:
    if entry.found is None:
        return "not run here yet"
    seeds = len(entry.found["seeds"])
    when = f"{entry.found['budget']}, {seeds} {'seed' if seeds == 1 else 'seeds'}, {entry.found['ended'][:10]}"
    return f"{entry.found['headline']} ({when})"
