"""Where and in which precision a model computes."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from gatelab.core.errors import InputError
from gatelab.core.processes import place_on_this_machine

Precision = Literal["float32", "float64", "mixed"]


def find_device(name: str, precision: Precision = "float32") -> torch.device:
    """The device called ``name``: ``cpu``, ``cuda`` or ``cuda:N``; under torchrun ``cuda`` is each process's own.

    Raises:
        InputError: no such device here, or one that cannot compute in ``precision``.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise InputError(f"there is no device {name!r}", expected="cpu, cuda or cuda:N", fix="change --device")
    if kind == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = number or str(place_on_this_machine())
        if int(number) >= present:
            raise InputError(
                f"the device {name!r} is not here",
                expected="a CUDA GPU that torch can use",
                got=f"{present} of them" if torch.version.cuda else "a torch built without CUDA",
                fix="use --device cpu" + ("" if not present else f", or cuda:0 to cuda:{present - 1}"),
            )
    if precision == "mixed" and kind != "cuda":
        raise InputError(
            "precision 'mixed' is for CUDA only",
            got=f"device {name}",
            fix="use --precision float32, or --device cuda",
        )
    return torch.device("cpu" if kind == "cpu" else f"cuda:{number}")


def on_device(model: torch.nn.Module, device: torch.device, precision: Precision) -> torch.nn.Module:
    """The model on ``device``; in double precision its floating-point inputs are cast on their way in."""
    model = model.to(device)
    if precision == "float64":
        model = model.double()
        model.register_forward_pre_hook(_double_inputs, with_kwargs=True)
    return model


def _double_inputs(_: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _double(args), _double(kwargs)


def _double(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple):
        cast = [_double(entry) for entry in value]
        return type(value)(*cast) if hasattr(value, "_fields") else tuple(cast)
    if isinstance(value, dict):
        return {name: _double(entry) for name, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # a batch
        return dataclasses.replace(value, **{name: _double(entry) for name, entry in vars(value).items()})
    return value


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a forward pass of this precision runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "mixed" else nullcontext()


def seed_torch(device: torch.device, seed: int) -> None:
    """Seeds the streams that a model on ``device`` draws from, and no other device's, unlike ``torch.manual_seed``."""
    torch.random.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def own_streams(device: torch.device) -> AbstractContextManager[Any]:
    """Gives torch's global random streams back as they were when the block ends."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
