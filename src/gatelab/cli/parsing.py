"""From words on a command line to dataclasses, by tyro with three rules of our own.

Lists are separated by commas (``--target load,price``; a name that holds a comma is quoted as in CSV), an optional
value is switched off with ``none``, and flags are written ``--like-this``.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from gatelab.core.config import check_value
from gatelab.core.errors import InputError

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


class Group(NamedTuple):
    """A configuration whose settings stand together in the help, as "<title> options"."""

    title: str
    kind: type
    text: str = ""
    """What the group is about; the docstring of ``kind`` where it is empty."""


def parse_groups(
    own: type[Options],
    groups: Sequence[Group],
    argv: Sequence[str],
    *,
    command: str,
    description: str,
    examples: Sequence[str] = (),
) -> tuple[Options, list[Any]]:
    """A command's own options, and the configuration of each group, from one level of flags.

    A configuration inside a configuration becomes a group in front of it; ``title`` and ``text`` in the metadata of
    its field say how it is called.

    Raises:
        InputError: a value that a configuration refuses.
    """
    flat = [entry for number, group in enumerate(groups) for entry in _flat(f"group{number}", group)]
    fields = [_field(name, group) for name, group in flat]
    whole = dataclasses.make_dataclass("Options", fields, bases=(own,), frozen=True)
    try:
        read = parse(whole, argv, command=command, description=description)
    except SystemExit as stop:
        if not stop.code and examples:
            print("examples:", *(f"  {example}" for example in examples), sep="\n")
        raise
    options = own(**{field.name: getattr(read, field.name) for field in dataclasses.fields(own)})  # type: ignore[arg-type]
    return options, [_checked(f"group{number}", group.kind, read) for number, group in enumerate(groups)]


def given(argv: Sequence[str], kind: type) -> list[str]:
    """The settings of ``kind`` that ``argv`` has flags for, whatever their values."""
    flags = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")}
    names = [field.name for field in dataclasses.fields(kind)]
    return [name for name in names if flags & {f"--{name}".replace("_", "-"), f"--no-{name}".replace("_", "-")}]


def _parts(kind: type) -> dict[str, Group]:
    """The fields of ``kind`` that are configurations themselves."""
    hints = get_type_hints(kind)
    return {
        field.name: Group(field.metadata.get("title", field.name), hints[field.name], field.metadata.get("text", ""))
        for field in dataclasses.fields(kind)
        if dataclasses.is_dataclass(hints[field.name])
    }


def _flat(name: str, group: Group) -> Iterator[tuple[str, Group]]:
    for part, inner in _parts(group.kind).items():
        yield from _flat(f"{name}_{part}", inner)
    yield name, group


def _field(name: str, group: Group) -> tuple[str, Any, Any]:
    """The group as tyro shall see it: nested parts out of sight, and nothing checked yet.

    What a configuration refuses while tyro reads would be printed as tyro's own error, without the remedy.
    """
    hidden = [
        (
            part,
            Annotated[inner.kind, tyro.conf.Fixed, tyro.conf.Suppress],
            dataclasses.field(default_factory=inner.kind),
        )
        for part, inner in _parts(group.kind).items()
    ]
    namespace = {"__doc__": group.text or group.kind.__doc__, "__post_init__": lambda self: None}
    seen = dataclasses.make_dataclass(
        group.kind.__name__, hidden, bases=(group.kind,), frozen=True, namespace=namespace
    )
    return name, Annotated[seen, tyro.conf.arg(name=group.title)], dataclasses.field(default_factory=seen)


def _checked(name: str, kind: type, read: Any) -> Any:
    inner = {part: _checked(f"{name}_{part}", group.kind, read) for part, group in _parts(kind).items()}
    values = {field.name: getattr(getattr(read, name), field.name) for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for field, value in values.items():
        if field not in inner:
            check_value(field, value, hints[field])
    return kind(**{**values, **inner})


def split(text: str) -> list[str]:
    """The entries of a comma-separated list.

    >>> split('load, "price, in euro"')
    ['load', 'price, in euro']

    Raises:
        InputError: a line break or a quote that does not belong there.
    """
    try:
        return next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise InputError(
            "this is no list of names",
            expected="names with commas between them",
            got=f"{text[:60]!r}: {error}",
            fix="put a name with a comma or a line break between double quotes",
        ) from error


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
