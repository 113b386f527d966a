"""Where data comes from: a path, or a data set that gatelab knows by name.

A file of a known data set is looked for, in this order,

1. below the folder that the environment variable ``GATELAB_DATA`` names (a mirror),
2. in ``data/`` in the working directory,
3. in the cache (the system's own place for caches, or the folder that ``GATELAB_CACHE`` names),

and otherwise it is downloaded into the cache, or written there from the library that brings it along. Its SHA-256
is checked wherever it came from.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pooch

from gatelab.core.errors import DataError, GatelabError, InputError, nearest
from gatelab.core.files import digest, replacing, write_text
from gatelab.data.catalogue import DATASETS, Dataset, File, dataset

if TYPE_CHECKING:
    from gatelab.data.roles import Roles

__all__ = [
    "DATASETS",
    "Dataset",
    "File",
    "dataset",
    "export",
    "fetch",
    "hints",
    "locate",
    "locate_file",
    "named",
    "own_test",
    "resolve",
    "with_hints",
]  # fmt: skip


def resolve(source: str | os.PathLike[str]) -> Path:
    """The path that ``source`` means: a path, a data set's name, or ``"name/file"`` for one of its files.

    A file of that name wins over a data set.

    Raises:
        InputError: it is neither; the message has the nearest names.
        DataError: the data set cannot be had, or has a wrong checksum.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    found = named(source)
    if found is not None:
        return fetch(*found)
    if path.exists():
        return path
    raise InputError(
        f"there is no file {str(source)!r}, and no data set of that name", fix=f"did you mean {_similar(path)}?"
    )


def named(source: str | os.PathLike[str]) -> tuple[Dataset, File] | None:
    """The data set and the file in it that ``source`` names, unless it names none or a file of that name exists.

    Raises:
        InputError: the data set has no such file.
    """
    if Path(source).expanduser().is_file():
        return None
    name, _, rest = str(source).partition("/")
    if name not in DATASETS or Path(source).is_absolute():
        return None
    return DATASETS[name], DATASETS[name].file(rest or DATASETS[name].main)


def hints(source: object) -> dict[str, Any]:
    """What the catalogue knows of the columns of a table, by the names of ``gatelab.data.Roles``; often empty."""
    found = named(source) if isinstance(source, (str, os.PathLike)) else None
    return dict(found[1].roles) if found else {}


def with_hints(source: object, roles: Roles) -> Roles:
    """``roles``, and what the catalogue knows where ``roles`` says nothing. What the user says always wins."""
    defaults = {field.name: field.default for field in dataclasses.fields(roles)}
    open_ = {name: value for name, value in hints(source).items() if getattr(roles, name) == defaults[name]}
    taken = {roles.time, roles.id, *roles.named}
    for name in ("target", "past"):
        if name in open_:
            open_[name] = tuple(column for column in open_[name] if column not in taken)
    return dataclasses.replace(roles, **{name: value for name, value in open_.items() if value not in taken})


def own_test(source: object) -> str | None:
    """The test part of data that have a file of their own for it; None for anything else.

    That of a data set as ``"name/file"``; beside ``…_TRAIN.ts``, as the UCR and UEA archives call their files, it is
    ``…_TEST.ts``.

    >>> own_test("traffic_pems"), own_test("co2_weekly"), own_test("tsc_aeon/GunPoint_TRAIN.ts")
    ('traffic_pems/test.csv', None, 'tsc_aeon/GunPoint_TEST.ts')
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    found, beside = named(source), os.fspath(source).replace("_TRAIN.ts", "_TEST.ts")
    if found is not None and found[0].test is not None and found[1].name == found[0].main:
        return f"{found[0].name}/{found[0].test}"
    if beside == os.fspath(source):
        return None
    known = found is not None and any(beside == f"{found[0].name}/{file.name}" for file in found[0].files)
    return beside if known or Path(beside).expanduser().is_file() else None


def locate(name: str) -> Path:
    """The folder that holds all files of the data set ``name``, checked.

    Raises:
        InputError: there is no such data set.
        DataError: a file cannot be had, or has a wrong checksum.
    """
    found = dataset(name)
    for root in _roots():
        if all((root / file.path).is_file() for file in found.files):
            for file in found.files:
                _verify(file, root / file.path)
            return root / name
    cache = cache_folder()
    for file in found.files:
        _copy(fetch(found, file), cache / file.path)
    return cache / name


def locate_file(name: str, file: str | None = None) -> Path:
    """The path of a file of the data set ``name``, its main file unless another is named.

    Raises:
        InputError: there is no such data set, or no such file in it.
        DataError: the file cannot be had, or has a wrong checksum.
    """
    found = dataset(name)
    return fetch(found, found.file(file or found.main))


def fetch(found: Dataset, file: File) -> Path:
    """The path of one file, downloaded into the cache if it is nowhere else; see ``locate_file``."""
    for root in _roots():
        if (root / file.path).is_file():
            return _verify(file, root / file.path)
    target = cache_folder() / file.path
    if found.bundled:
        return _written(found, file, target)
    # Loaded here, as what is already on the disk needs no network library.
    from gatelab.data.download import by_hand, download

    if file.url is None:
        raise DataError(
            f"{file.path} cannot be downloaded: it is an archive made for a local mirror of {found.source}",
            fix=f"put it at {by_hand(file, target)}",
        )
    return download(file, found.licence, cache_folder())


def export(name: str, folder: str | os.PathLike[str]) -> Path:
    """Copies all files of the data set ``name`` into ``folder/name`` and gives that path."""
    for file in dataset(name).files:
        _copy(fetch(dataset(name), file), Path(folder) / file.path)
    return Path(folder) / name


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("GATELAB_CACHE") or pooch.os_cache("gatelab"))


def _roots() -> Iterator[Path]:
    mirror = os.environ.get("GATELAB_DATA")
    if mirror and not Path(mirror).is_dir():
        raise InputError(
            f"GATELAB_DATA names a folder that is not there: {mirror}",
            fix="mend or unset the environment variable GATELAB_DATA",
        )
    yield from [Path(mirror)] if mirror else []
    yield Path("data")
    yield cache_folder()


def _verify(file: File, path: Path) -> Path:
    status = path.stat()
    actual = _digest(str(path.resolve()), status.st_size, status.st_mtime_ns)
    if actual != file.sha256:
        from gatelab.data.download import wrong_checksum

        raise wrong_checksum(file, path, actual, fix=f"delete or replace {path} and run the same command again")
    return path


@lru_cache(maxsize=1024)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    """SHA-256, computed once a process for as long as size and time of the file stay what they are."""
    return digest(path)


def _written(found: Dataset, file: File, target: Path) -> Path:
    from gatelab.data.bundled import csv_text

    try:
        write_text(target, csv_text(found.name))
    except GatelabError as error:
        fix = "set GATELAB_CACHE to a folder you may write to"
        raise InputError(error.problem, got=error.got, fix=fix) from error
    return _verify(file, target)


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and source.samefile(target)):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def _similar(path: Path) -> str:
    """Names near ``path``: of data sets, and of files in the folder it points to."""
    beside = [str(path.with_name(entry.name)) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(str(path), [*DATASETS, *beside])
