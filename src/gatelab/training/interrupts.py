"""Stopping between two steps instead of inside one."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupts:
    """Notes SIGINT and SIGTERM while the block runs, so that the loop can write a checkpoint and then stop.

    A second signal acts at once, as without this class. Outside the main thread, where Python hands out no signals,
    nothing is noted.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):  # ignored on purpose (nohup), or set outside Python
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, _: object) -> None:
        self.noted = number
        self.__exit__()

    def stop(self) -> None:
        """Ends the program as the noted signal would have.

        Raises:
            KeyboardInterrupt: for SIGINT.
            SystemExit: for SIGTERM, with the code that shells give it, 128 + 15.
        """
        if self.noted == signal.SIGINT:
            raise KeyboardInterrupt
        if self.noted is not None:
            raise SystemExit(128 + self.noted)
