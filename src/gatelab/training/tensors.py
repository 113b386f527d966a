"""Nested state as named tensors plus JSON, the two things that a safetensors file holds. Nothing is pickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

Tensors = dict[str, torch.Tensor]


def copied(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Own copies on the CPU, each in its own memory (tied weights would share it, which safetensors refuses)."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, kinds, shapes and values."""
    return hashlib.sha256(safetensors.torch.save(copied(tensors))).hexdigest()


def detached(state: Any) -> Any:
    """A carried state cut from the graph of the batch before.

    Named tuples become plain ones here, as they would in a checkpoint, so that a resumed run sees no other kind.
    """
    if isinstance(state, torch.Tensor):
        return state.detach()
    if isinstance(state, (tuple, list)):
        return tuple(detached(entry) for entry in state)
    if state is None:
        return None
    raise TypeError(f"a carried state is a tensor or nested tuples of tensors, not {type(state).__name__}")


def flatten(state: Any, prefix: str, into: Tensors) -> Any:
    """Puts the tensors of a carried state ``into`` a dictionary, and gives its shape as JSON."""
    if isinstance(state, torch.Tensor):
        into[prefix] = state
        return prefix
    if state is None:
        return None
    return [flatten(entry, f"{prefix}.{index}", into) for index, entry in enumerate(state)]


def unflatten(shape: Any, tensors: Tensors, device: torch.device) -> Any:
    """The state that ``flatten`` took apart.

    Tensors are copied: inside a file they lie at addresses that the allocator would not give, and a matrix product
    may round differently there.
    """
    if isinstance(shape, str):
        return tensors[shape].to(device, copy=True)
    return None if shape is None else tuple(unflatten(entry, tensors, device) for entry in shape)


def flatten_optimizer(optimizer: torch.optim.Optimizer, into: Tensors) -> dict[str, dict[str, Any]]:
    """Puts the optimizer's tensors ``into`` a dictionary and gives the rest, by parameter number, as JSON.

    Hyperparameters are left out: they follow from the configuration and the step.
    """
    rest: dict[str, dict[str, Any]] = {}
    for number, entries in optimizer.state_dict()["state"].items():
        rest[str(number)] = {}
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                into[f"optimizer.{number}.{name}"] = value
            else:
                rest[str(number)][name] = value
    return rest


def restore_optimizer(
    optimizer: torch.optim.Optimizer, rest: Mapping[str, Mapping[str, Any]], tensors: Tensors
) -> None:
    """The inverse of ``flatten_optimizer``, in place."""
    state: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in rest.items()}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state[int(number)][name] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix, by their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
