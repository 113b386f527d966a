"""Lines of text, one at a time, from files, folders and archives that may be larger than memory.

A line ends at ``\\n`` or ``\\r\\n``, and at ``\\r`` in a file that begins without any ``\\n``; nowhere else: what
Unicode also calls a line break is part of a line's text. A byte that is no text of the encoding is refused with its
file, line and byte, never replaced.
"""

from __future__ import annotations

import codecs
import gzip
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatelab.core.errors import DataError, InputError
from gatelab.data.sources import named, resolve
from gatelab.data.unpacking import bounded, check_members

_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEAD = 1 << 16  # bytes that tell how lines end
_BROKEN = zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error


@dataclass(frozen=True)
class Document:
    """One text: a file, or a member of a zip archive. It is opened when it is read, and travels by its path."""

    name: str
    """What to call it in messages, such as ``"1945.txt"`` or ``"speeches/1945.txt"`` in a folder or archive."""
    path: Path
    member: str | None = None
    """Its name in the archive at ``path``."""
    encoding: str = "utf-8"

    def lines(self, keep_ends: bool = False) -> Iterator[str]:
        """Its lines; see ``decoded_lines``.

        Raises:
            InputError: it cannot be opened.
            DataError: it is no text, or cannot be unpacked.
        """
        try:
            with self._open() as stream:
                yield from decoded_lines(stream, self.name, self.encoding, keep_ends)
        except _BROKEN as error:
            raise DataError(f"{self.name} cannot be unpacked: it may have been cut short", got=error) from error
        except (RuntimeError, NotImplementedError) as error:  # what zipfile raises for encryption, odd compressions
            raise DataError(f"{self.name} cannot be unpacked", got=error, fix="unpack it by hand") from error
        except OSError as error:
            raise InputError(f"{self.name} cannot be read", got=error.strerror or error) from error

    @contextmanager
    def _open(self) -> Iterator[Iterable[bytes]]:
        if self.member is not None:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield bounded(stream, self.path.stat().st_size, self.name)
        elif self.path.suffix == ".gz":
            with gzip.open(self.path, "rb") as stream:
                yield bounded(stream, self.path.stat().st_size, self.name)
        else:
            with open(self.path, "rb") as stream:
                yield stream


def decoded_lines(
    stream: Iterable[bytes], name: str, encoding: str = "utf-8", keep_ends: bool = False
) -> Iterator[str]:
    """The lines of a binary stream, such as ``sys.stdin.buffer``: one at a time, none longer kept.

    Args:
        stream: gives bytes up to and with each ``\\n``, as binary files do.
        name: what to call it in messages.
        encoding: an encoding that writes ``\\n`` as one byte; a byte order mark of UTF-8 is left out.
        keep_ends: whether lines end in the ``\\n`` that they have in the file (``\\r\\n`` becomes ``\\n``).

    Raises:
        InputError: Python has no such encoding, or it is not one of single bytes for ASCII.
        DataError: a byte that is not text, with its line and its place in it, both from 1.
    """
    check_encoding(encoding)
    for number, raw in enumerate(_ended(stream), 1):
        if number == 1:
            _refuse_wide(raw, name)
            raw = raw.removeprefix(codecs.BOM_UTF8)
        text = _decoded(raw, number, name, encoding)
        ended = text.endswith("\n")
        text = text.removesuffix("\n").removesuffix("\r") if ended else text
        yield text + "\n" if ended and keep_ends else text


def _ended(stream: Iterable[bytes]) -> Iterable[bytes]:
    """The lines of a binary stream, each ended by ``\\n``, be they ended by ``\\r`` alone."""
    peek = getattr(stream, "peek", None)
    head = peek(_HEAD)[:_HEAD] if peek is not None else b""
    return _ended_by_returns(stream) if b"\r" in head and b"\n" not in head else stream


def _ended_by_returns(stream: Any) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_HEAD):
        *lines, rest = (rest + chunk).split(b"\r")
        yield from (line.removeprefix(b"\n") + b"\n" for line in lines)
    if rest := rest.removeprefix(b"\n"):
        yield rest


def documents(source: str | os.PathLike[str], encoding: str | None = None, suffix: str = ".txt") -> list[Document]:
    """The texts that ``source`` is made of, in the order of their names.

    Args:
        source: a text file, plain or ``.gz``; a folder or a ``.zip`` archive of files that end in ``suffix``, at any
            depth; or a data set's name.
        encoding: how they are written; as the catalogue says of a known data set by default, else UTF-8.
        suffix: which files of a folder or archive are texts.

    Raises:
        InputError: there is no such source, or no text in it.
        DataError: the archive cannot be read.
    """
    known = named(source)
    encoding = check_encoding(encoding or (known[1].encoding if known else "utf-8"))
    path = resolve(source)
    if path.is_dir():
        files = sorted(path.rglob(f"*{suffix}"))
        found = [Document(str(file.relative_to(path)), file, None, encoding) for file in files if file.is_file()]
    elif _is_archive(path):
        found = [Document(member, path, member, encoding) for member in _members(path, suffix)]
    else:
        return [Document(path.name, path, None, encoding)]
    if not found:
        raise InputError(f"{path} holds no file that ends in {suffix}", fix="name a text file, or a folder of them")
    return found


def check_encoding(encoding: str) -> str:
    """The encoding, if lines can be read in it.

    Raises:
        InputError: Python has no such encoding, or it does not write ``\\n`` as one byte, as UTF-16 does not.
    """
    try:
        usable = "\n".encode(encoding) == b"\n"
    except (LookupError, UnicodeError, TypeError):
        usable = False
    if not usable:
        raise InputError(
            "lines cannot be read in this encoding", expected="such as utf-8, latin-1, cp1252, shift_jis",
            got=encoding, fix="name another encoding, or convert the file to UTF-8",
        )  # fmt: skip
    return encoding


def _is_archive(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or error) from error


def _members(path: Path, suffix: str) -> list[str]:
    """The files of an archive that end in ``suffix``, in the order of their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = (entry for entry in archive.namelist() if not entry.endswith("/") and "__MACOSX" not in entry)
            found = sorted(entry for entry in files if entry.endswith(suffix))
            check_members(archive, found, path.stat().st_size, path.name)
            return found
    except zipfile.BadZipFile as error:
        raise DataError(f"{path.name} cannot be unpacked: it may have been cut short", got=error) from error


def _refuse_wide(raw: bytes, name: str) -> None:
    for mark, encoding in _WIDE.items():
        if raw.startswith(mark):
            raise DataError(
                f"{name} is written in {encoding.upper()}", expected="UTF-8", got=f"the mark {mark.hex(' ')} at byte 1",
                fix="save it as UTF-8",
            )  # fmt: skip


def _decoded(raw: bytes, number: int, name: str, encoding: str) -> str:
    """One line's text; NUL is a byte of no text, however it is encoded."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        at, fix = error.start, "save the file as UTF-8, or name the encoding it is written in with --encoding"
    else:
        if "\x00" not in text:
            return text
        at, fix = max(raw.find(0), 0), "this looks like a binary file: name a text file"
    shown = raw[max(at - 20, 0) : at + 20].decode("ascii", "backslashreplace").encode("unicode_escape").decode()
    raise DataError(
        f"{name}, line {number}, byte {at + 1}: this is no text",
        expected=encoding.upper(), got=f"the byte 0x{raw[at]:02x} in “{shown}”", fix=fix,
    )  # fmt: skip
