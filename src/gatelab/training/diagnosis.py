"""Why a loss or gradient is not finite: asked once, when training has to stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from gatelab.core.config import TrainingConfig
from gatelab.core.errors import TrainingError
from gatelab.core.task import Batch
from gatelab.training.learner import Learner
from gatelab.training.tensors import Tensors

SHOWN = 5


def diagnose(
    what: str, learner: Learner, batch: Batch, state: Any, *, where: str, rate: float, norms: Sequence[float]
) -> TrainingError:
    """The error to raise when ``what`` (a loss or a gradient norm) is not finite.

    Looks, in the order in which trouble spreads, at the weights, the carried state, the batch, the modules' outputs
    and the gradients. Runs the batch forward once more, so it must come before any update.

    Args:
        where: step, epoch and batch, in words.
        norms: gradient norms of the steps before, the last one last.
    """
    findings = [
        _named("weights that are not finite", _bad(learner.model.state_dict())),
        _named("carried state that is not finite", _bad(dict(_tensors(state, "state")))),
        _named("input that is not finite (gaps must be masked)", _bad(_fields(batch))),
        _named("first layer whose output is not finite", _first_bad_output(learner, batch, state)),
        _named("gradients that are not finite", _bad(_gradients(learner.model))),
    ]
    recent = ", ".join(f"{norm:.3g}" for norm in norms[-SHOWN:]) or "none yet"
    said = [finding for finding in findings if finding]
    return TrainingError(
        f"{what} at {where}",
        expected="a finite number",
        got="; ".join([*said, f"learning rate {rate:.3g}", f"gradient norms before: {recent}"]),
        fix=advice(learner.training, bad_weights=bool(findings[0]), bad_input=bool(findings[2])),
    )


def advice(training: TrainingConfig, *, bad_weights: bool = False, bad_input: bool = False) -> str:
    """What to try, the likeliest cure first."""
    if bad_weights:
        return "start from other weights: these were not finite before the step"
    tries = ["check the data for infinite or missing values that are not masked"] if bad_input else []
    if training.precision == "mixed":
        tries.append("use --precision float32")
    if training.clip_norm is None:
        tries.append("clip the gradient: --clip-norm 1")
    elif training.clip_norm > 1:
        tries.append(f"clip the gradient harder than {training.clip_norm:g}: --clip-norm 1")
    tries.append(f"lower the learning rate: --learning-rate {training.learning_rate / 10:.1g}")
    if training.warmup_steps == 0:
        tries.append("let it rise slowly: --warmup-steps 100")
    return "; or ".join(tries) + ". What was trained so far is kept in the run folder"


def _named(title: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{title}: {', '.join(names[:SHOWN])}{more}" if names else ""


def _bad(tensors: Tensors) -> list[str]:
    """Names of tensors with entries that are not finite, and how many."""
    bad = []
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and (count := int((~tensor.isfinite()).sum())):
            bad.append(f"{name} ({count} of {tensor.numel()})")
    return bad


def _fields(batch: Any) -> Tensors:
    if dataclasses.is_dataclass(batch):
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    else:
        values = getattr(batch, "_asdict", lambda: vars(batch))()
    return dict(pair for name, value in values.items() for pair in _tensors(value, name))


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (tuple, list)):
        for index, entry in enumerate(value):
            yield from _tensors(entry, f"{name}[{index}]")


def _gradients(model: torch.nn.Module) -> Tensors:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@torch.no_grad()
def _first_bad_output(learner: Learner, batch: Batch, state: Any) -> list[str]:
    """The innermost module that turns finite inputs into something else, with its kind."""
    found: list[str] = []

    def look(name: str, module: torch.nn.Module):
        def hook(_: torch.nn.Module, inputs: Any, output: Any) -> None:
            fine = not _bad(dict(_tensors(inputs, "input")))
            if not found and fine and _bad(dict(_tensors(output, "output"))):
                found.append(f"{name or 'the model'} ({type(module).__name__})")

        return module.register_forward_hook(hook)

    hooks = [look(name, module) for name, module in learner.model.named_modules()]
    try:
        learner.forward(batch, state)
    finally:
        for hook in hooks:
            hook.remove()
    return found
