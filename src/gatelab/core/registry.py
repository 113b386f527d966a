"""Tables of names: the one way gatelab is extended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from gatelab.core.errors import InputError, nearest


class Registry(Mapping[str, Any]):
    """A table from a name to ``"module:attribute"``, imported when first asked for.

    Lazy, so that a table can be listed without loading torch, and so that a table may live below the things
    it names.

    >>> table = Registry("number", {"pi": "math:pi"})
    >>> round(table["pi"], 2)
    3.14
    """

    def __init__(self, kind: str, entries: Mapping[str, str]):
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        self.check(name)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)

    def check(self, name: str) -> None:
        """Raises ``InputError`` with the nearest names unless ``name`` is in the table; imports nothing."""
        if name not in self._entries:
            raise InputError(
                f"there is no {self.kind} called {name!r}",
                expected=f"one of {', '.join(self._entries)}",
                fix=f"did you mean {nearest(str(name), self._entries)}?",
            )

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self)})"
