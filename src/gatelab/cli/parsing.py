"""From words on a command line to dataclasses, by tyro with three rules of our own.

Lists are separated by commas (``--target load,price``; a name that holds a comma is quoted as in CSV), an optional
value is switched off with ``none``, and flags are written ``--like-this``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

Options = TypeVar("Options")

_REGISTRY = ConstructorRegistry()
_STYLE = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.HelptextFromCommentsOff,
    tyro.conf.PositionalMetavarFromFieldName,
)


def parse(kind: Callable[..., Options], argv: Sequence[str], *, command: str, description: str = "") -> Options:
    """The dataclass ``kind`` filled from ``argv``; nested dataclasses share the one level of flags.

    Prints help or what is wrong and ends with ``SystemExit`` (0 or 2), as command lines do.
    """
    return tyro.cli(
        kind,
        args=list(argv),
        prog=f"gatelab {command}",
        description=description or None,
        config=_STYLE,
        registry=_REGISTRY,
    )


def parse_one_of(
    kinds: Mapping[str, Callable[..., Any]], argv: Sequence[str], *, command: str, description: str
) -> Any:
    """The dataclass that the first word of ``argv`` names, filled from the others; see ``parse``."""
    return tyro.extras.subcommand_cli_from_dict(
        dict(kinds),
        args=list(argv),
        prog=f"gatelab {command}",
        description=description,
        config=_STYLE,
        registry=_REGISTRY,
    )


def split(text: str) -> list[str]:
    """The entries of a comma-separated list.

    >>> split('load, "price, in euro"')
    ['load', 'price, in euro']
    """
    return next(csv.reader([text], skipinitialspace=True), [])


@_REGISTRY.primitive_rule
def _none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    if info.type is not type(None):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="none",
        instance_from_str=lambda words: None,
        is_instance=lambda value: value is None,
        str_from_instance=lambda value: ["none"],
        choices=("none",),
    )


@_REGISTRY.primitive_rule
def _yes_or_no(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """For ``bool | None``; a plain ``bool`` becomes a pair of flags and does not come here."""
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="yes|no",
        instance_from_str=lambda words: words[0] == "yes",
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: ["yes" if value else "no"],
        choices=("yes", "no"),
    )


@_REGISTRY.primitive_rule
def _comma_separated(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | UnsupportedTypeAnnotationError | None:
    arguments = get_args(info.type)
    if info.type_origin is not tuple or len(arguments) != 2 or arguments[1] is not Ellipsis:
        return None
    entry = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(arguments[0], info.markers))
    if isinstance(entry, UnsupportedTypeAnnotationError):
        return entry

    def read(words: list[str]) -> tuple[Any, ...]:
        entries = [found for word in words for found in split(word)]
        if entry.choices is not None and (wrong := [found for found in entries if found not in entry.choices]):
            raise ValueError(f"{wrong[0]!r} is none of {', '.join(entry.choices)}")
        return tuple(_entry(entry, found) for found in entries)

    positional = tyro.conf.Positional in info.markers
    return PrimitiveConstructorSpec(
        nargs="*" if positional else 1,
        metavar=f"{entry.metavar} …" if positional else f"{entry.metavar},…",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(entry.is_instance(found) for found in value),
        str_from_instance=lambda value: [_joined(entry, value)] if value else [],
    )


def _entry(spec: PrimitiveConstructorSpec, text: str) -> Any:
    try:
        return spec.instance_from_str([text])
    except ValueError as error:
        raise ValueError(f"{text!r} is no {spec.metavar}") from error


def _joined(spec: PrimitiveConstructorSpec, values: Sequence[Any]) -> str:
    words = [word for value in values for word in spec.str_from_instance(value)]
    return ",".join(f'"{word}"' if "," in word else word for word in words)
