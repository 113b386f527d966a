"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from gatelab.core.errors import GatelabError, InputError, NoSpaceError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name, synced to disk, when the block ends without an error.

    Raises:
        NoSpaceError: no space left.
        InputError: the folder cannot be written to.
    """
    target = Path(path)
    temporary = _temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _make(temporary)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise explained(error, target) from error
    finally:
        with suppress(OSError):  # never made, or taken its name
            temporary.unlink()


def replace_unsynced(path: str | os.PathLike[str], text: str) -> None:
    """As ``write_text``, for what is of no use once the machine has gone down.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(path)
    temporary = _temporary_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _make(temporary)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)


def _temporary_name(target: Path) -> Path:
    """A name beside ``target`` that nobody can guess."""
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")


def _make(path: Path) -> None:
    """An empty file where there was nothing, so that it is no link to anything else."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself durable, where the system lets a folder be opened (POSIX)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def explained(error: OSError, target: Path) -> GatelabError:
    """The error for people when ``target`` cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(
            f"no space left while writing {target}",
            fix="free some space and run the same command again: what was finished before is kept",
        )
    return InputError(
        f"cannot write {target}", got=error.strerror or str(error), fix="choose a folder you may write to, with --out"
    )


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes ``content`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text with ``\\n`` line ends, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes strict JSON (no NaN), whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same JSON value with ``None`` for every number that is not finite, as strict JSON asks.

    >>> finite({"MAE": float("nan"), "curve": [1.0, float("inf")]})
    {'MAE': None, 'curve': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


_MOST_JSON = 1 << 30  # bytes; the largest that gatelab writes are some megabytes


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads JSON.

    Raises:
        GatelabError: the file is missing, no file, cut short, not JSON, too large or too deep to be read.
    """
    try:
        if require_file(path) > _MOST_JSON:
            raise GatelabError(f"{path} is too large to be read as JSON", expected=f"at most {_MOST_JSON:,} bytes")
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GatelabError(f"there is no file {path}") from error
    except RecursionError as error:
        raise GatelabError(f"{path} is nested too deep to be read as JSON") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise GatelabError(f"{path} is not readable as JSON: it may have been cut short", got=error) from error


def require_file(path: str | os.PathLike[str]) -> int:
    """The size of a file in bytes, if it is one.

    Raises:
        FileNotFoundError: there is nothing.
        GatelabError: it is a folder, a pipe or a device, which might never end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise GatelabError(f"{path} is not a file", expected="a file on a disk, no folder, pipe or device")
    return found.st_size


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    hasher = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made if need be, after a trial write: better refused before an hour of work than after.

    Raises:
        InputError: it is a file, or cannot be written to.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", fix="name another folder with --out")
    write_text(folder / ".gatelab-write-test", "")
    (folder / ".gatelab-write-test").unlink(missing_ok=True)  # another process may be at the same test
    return folder


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes left on the disk that holds ``path``."""
    return shutil.disk_usage(path).free
