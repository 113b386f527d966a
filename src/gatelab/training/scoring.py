"""Scoring a model beside its baselines, said as it goes: a fitted baseline may take longer than the training did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gatelab.core.task import Evaluation, Part, Task
from gatelab.training.events import Listener, Scored, Scoring


def score_all(
    task: Task, name: str, model: Any, part: Part, listeners: Sequence[Listener] = ()
) -> dict[str, Evaluation]:
    """The model, called ``name``, and every baseline of the task on a part, by their names; the model first.

    Args:
        task: opened with data.
        name: of the model, as tables have it.
        model: trained.
        part: of the data.
        listeners: hear ``Scoring`` before each, and ``Scored`` at the end, whichever way it comes.
    """
    contenders: Mapping[str, Callable[[Part], Evaluation]] = {name: partial(task.evaluate, model), **task.baselines()}
    found: dict[str, Evaluation] = {}
    try:
        for done, (each, evaluate) in enumerate(contenders.items()):
            _tell(listeners, Scoring(each, done, len(contenders)))
            found[each] = evaluate(part)
    finally:
        _tell(listeners, Scored())
    return found


def _tell(listeners: Sequence[Listener], event: Any) -> None:
    for listener in listeners:
        listener(event)
