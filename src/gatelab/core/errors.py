"""Errors for people: what was wrong, what was expected, what came, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GatelabError(Exception):
    """An error whose message a user can act on; the command line prints it and ends with exit code 2.

    Args:
        problem: what is wrong, naming the file, row, column or option.
        expected: what would have been right.
        got: what came instead.
        fix: what to do, as an instruction.
    """

    def __init__(self, problem: str, *, expected: object = None, got: object = None, fix: str | None = None):
        self.problem, self.expected, self.got, self.fix = problem, expected, got, fix
        lines = [problem]
        lines += [f"  expected: {expected}"] if expected is not None else []
        lines += [f"  got:      {got}"] if got is not None else []
        lines += [f"  fix:      {fix}"] if fix is not None else []
        super().__init__("\n".join(lines))

    def naming(self, before: str, after: str) -> GatelabError:
        """The same error with one name for another, such as what a person calls a file in the place of its path."""
        expected, got = (str(part).replace(before, after) if part is not None else None
                         for part in (self.expected, self.got))  # fmt: skip
        fix = self.fix.replace(before, after) if self.fix is not None else None
        return type(self)(self.problem.replace(before, after), expected=expected, got=got, fix=fix)

    def __reduce__(self):
        # Keyword arguments do not survive Exception's own pickling, and errors cross process borders in studies.
        return _rebuild, (type(self), self.problem, self.expected, self.got, self.fix)


def _rebuild(kind: type[GatelabError], problem: str, expected: object, got: object, fix: str | None) -> GatelabError:
    return kind(problem, expected=expected, got=got, fix=fix)


class InputError(GatelabError, ValueError):
    """An argument, option or name that cannot be used."""


class DataError(GatelabError, ValueError):
    """A data file that cannot be read or does not hold what is needed."""


class RunError(GatelabError):
    """A run folder that is incomplete, altered or from another version."""


class NoSpaceError(GatelabError):
    """A disk that is full: nothing is wrong with what was asked for, and the same command may go on later."""


class TrainingError(GatelabError):
    """Training that cannot go on, such as a loss that is not finite."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names most like ``name``, ready for a message; all of them where none is near.

    >>> nearest("gur", ["rnn", "lstm", "gru"])
    'gru'
    """
    known = list(known)
    by_case = {entry.casefold(): entry for entry in known}
    close = difflib.get_close_matches(name.casefold(), by_case, n=count, cutoff=0.5)
    shown = [by_case[entry] for entry in close] or known[:12]
    return ", ".join(shown) + (", …" if not close and len(known) > len(shown) else "")
