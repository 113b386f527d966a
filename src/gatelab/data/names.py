"""Names in a new table beside those that a model knows: numerals that are equal are one name, case tells names apart.

Ids of series and levels of categories come back as ``1.0`` where they were ``1`` as soon as a column has passed
through a table of floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

_NUMERAL = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]\d{1,3})?", re.IGNORECASE | re.ASCII)
_MOST_NAMED = 5


def numeral(name: str) -> Decimal | None:
    """The number that a name writes down; none where it is no numeral.

    >>> numeral("1.0") == numeral("1"), numeral("1e3"), numeral("shop 1")
    (True, None, None)
    """
    return Decimal(name) if _NUMERAL.fullmatch(name) else None


def known_as(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What a model calls those of ``names`` that it knows, be it as another numeral of the same number.

    A numeral that equals several known ones (``1`` beside ``01`` and ``001``) is none of them.
    """
    known = list(dict.fromkeys(known))
    exact, by_number = set(known), _by_number(known)
    found = {}
    for name in names:
        number = None if name in exact else numeral(name)
        same = [name] if name in exact else by_number.get(number, []) if number is not None else []
        if len(same) == 1:
            found[name] = same[0]
    return found


def merged(names: Iterable[str]) -> dict[str, str]:
    """The names that are written in two ways in one table, and which way stands for both: the shorter.

    Codes with leading zeros are names of their own: ``007`` is not ``7``.
    """
    groups = _by_number(name for name in names if not re.match(r"[+-]?0\d", name)).values()
    return {name: min(group, key=len) for group in groups if len(group) > 1 for name in group}


def _by_number(names: Iterable[str]) -> dict[Decimal, list[str]]:
    found: dict[Decimal, list[str]] = {}
    for name in names:
        number = numeral(name)
        if number is not None:
            found.setdefault(number, []).append(name)
    return found


def listed(names: Iterable[str]) -> str:
    """A few names for a note, and how many more there are.

    >>> listed("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    names = list(names)
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def said_renamed(column: str, renamed: Mapping[str, str]) -> list[str]:
    """A line on numerals that are taken for the same number written in another way; none where there are none."""
    pairs = [f"{name} is {other}" for name, other in renamed.items() if name != other]
    return [f"{column}: {listed(pairs)}, the same number"] if pairs else []


def said_unseen(column: str, unseen: Iterable[str], known: Iterable[str], taken: str) -> list[str]:
    """A line on names that training did not show, what they are taken as, and a known one in another case, if any."""
    unseen = list(unseen)
    if not unseen:
        return []
    by_case = {name.casefold(): name for name in known}
    other = next((by_case[name.casefold()] for name in unseen if name.casefold() in by_case), None)
    hint = f" (training has {other}: case counts)" if other else ""
    return [f"{column}: {listed(unseen)} not seen in training, {taken}{hint}"]
