"""Many texts end to end in one array of bytes, in a temporary file where they are many (``gatelab.data.ragged``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from gatelab.data.ragged import IN_MEMORY, Ragged, RaggedWriter

Array = np.ndarray


class Texts(Sequence[str]):
    """N texts, kept as UTF-8 and made strings when they are asked for.

    >>> texts = Texts.of(["so it goes", "", "naïve"])
    >>> texts[2], list(texts[np.array([2, 0])])
    ('naïve', ['naïve', 'so it goes'])
    """

    def __init__(self, rows: Ragged):
        self.rows = rows

    @classmethod
    def of(cls, texts: Iterable[str], in_memory: int = IN_MEMORY) -> Texts:
        """The texts, taken one by one; half a surrogate pair, which UTF-8 has no bytes for, is kept."""
        with RaggedWriter(np.uint8, in_memory=in_memory) as writer:
            for text in texts:
                writer.append(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8))
            return cls(writer.finish())

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, which: int | np.integer) -> str: ...

    @overload
    def __getitem__(self, which: slice | Array) -> Texts: ...

    def __getitem__(self, which: Any) -> Any:
        found = self.rows[which]
        return Texts(found) if isinstance(found, Ragged) else found.tobytes().decode("utf-8", "surrogatepass")

    def digest(self) -> str:
        """Thirty-two hexadecimal digits that tell these texts, in this order, from others."""
        return self.rows.digest()
