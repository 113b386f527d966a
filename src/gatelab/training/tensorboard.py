"""TensorBoard as a listener; an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatelab.core.errors import InputError
from gatelab.training.events import EpochEnded, Event, Failed, Finished, Started


class TensorBoard:
    """Writes the numbers of each epoch under ``folder``, by optimizer step.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "TensorBoard is not installed", got=error, fix="pip install 'gatelab[tensorboard]', or leave it off"
            ) from error
        self._make, self._folder = SummaryWriter, folder
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Writes one event."""
        match event:
            case Started():
                # Epochs that were logged and then lost with the process are dropped from the curves.
                self._writer = self._make(str(self._folder), purge_step=event.step + 1 if event.step else None)
            case EpochEnded(record):
                for name, value in record.items():
                    if isinstance(value, (int, float)) and name not in ("epoch", "step"):
                        self._writer.add_scalar(name, value, record["step"])
            case Finished() | Failed() if self._writer is not None:
                self._writer.close()
