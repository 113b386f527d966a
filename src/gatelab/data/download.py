"""Downloads that show what they do, go on where they broke off, and keep nothing whose SHA-256 is wrong."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gatelab.core.errors import DataError, GatelabError
from gatelab.core.files import digest
from gatelab.data.catalogue import File

CONNECT_SECONDS, READ_SECONDS = 10, 30
ATTEMPTS = 3
"""Tries in a row that bring nothing new before a download is given up."""
WAIT_SECONDS = 0.5
"""Wait after a broken connection; doubled with each try that brings nothing new."""
BLOCK = 1 << 14
"""Bytes written at a time; what a broken connection loses is less than this."""

Grown = Callable[[int], object]


def download(file: File, licence: str, folder: Path) -> Path:
    """Downloads ``file`` to its place below ``folder``, saying its licence first, and gives the path.

    When several processes want it, one downloads and the others wait.

    Raises:
        DataError: it cannot be reached, or what came has another SHA-256; nothing wrong is kept.
        GatelabError: it cannot be written.
    """
    assert file.url is not None
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not target.is_file():
                _retrieve(file, licence, target)
    except requests.RequestException as error:
        raise _unreachable(file, target, error) from error
    except OSError as error:
        raise GatelabError(
            f"cannot write {target}",
            got=error.strerror or error,
            fix="free some space, or set GATELAB_CACHE to a folder you may write to",
        ) from error
    return target


def _retrieve(file: File, licence: str, target: Path) -> None:
    with _shown(file, licence) as grown, _silent(pooch.get_logger()):
        downloader = ResumingDownloader(file, target.with_name(target.name + ".part"), grown)
        pooch.retrieve(file.url, f"sha256:{file.sha256}", target.name, target.parent, downloader=downloader)  # type: ignore[arg-type]


class ResumingDownloader:
    """A downloader in pooch's sense that keeps what it has in ``part`` and asks the server only for the rest."""

    def __init__(self, file: File, part: Path, grown: Grown = lambda count: None):
        self.file, self.part, self.grown = file, part, grown

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Downloads ``url`` into ``output_file``.

        Raises:
            requests.RequestException: the server refuses, or the connection breaks again and again.
            DataError: the file is whole and has another SHA-256.
        """
        resumed = self._have() > 0
        self._complete(url)
        if resumed and digest(self.part) != self.file.sha256:
            self.part.unlink()  # what an earlier run left behind was not of this file
            self._complete(url)
        if (actual := digest(self.part)) != self.file.sha256:
            self.part.unlink()
            raise wrong_checksum(self.file, url, actual, fix="try later, or get the file elsewhere")
        os.replace(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _complete(self, url: str) -> None:
        failures = 0
        while (have := self._have()) < self.file.bytes:
            try:
                self._continue(url, have)
            except requests.RequestException as error:
                failures = 0 if self._have() > have else failures + 1
                if failures >= ATTEMPTS or _final(error):
                    raise
                time.sleep(WAIT_SECONDS * 2**failures)

    def _continue(self, url: str, have: int) -> None:
        """One request for the bytes that are missing; raises ``RequestException`` when not all of them come."""
        # The bytes as they are: a compressed answer cannot be continued in the middle.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
            answer.raise_for_status()
            with open(self.part, "r+b" if have else "wb") as file:
                file.seek(have if _starts_at(answer, have) else 0)
                for block in answer.iter_content(BLOCK):
                    if file.tell() + len(block) > self.file.bytes:
                        file.truncate(0)
                        raise TooLong(f"the server sends more than the {self.file.bytes:,} bytes of this file")
                    file.write(block)
                    self.grown(file.tell())
        if self._have() < self.file.bytes:
            raise requests.ConnectionError(f"the connection broke off at {self._have():,} of {self.file.bytes:,} bytes")


class TooLong(requests.RequestException):
    """The server has another file under this address, or does not stop."""


def _starts_at(answer: requests.Response, offset: int) -> bool:
    """Whether the server gave the range that was asked for; some give the whole file instead."""
    content_range = answer.headers.get("Content-Range", "")
    return answer.status_code == requests.codes.partial_content and content_range.startswith(f"bytes {offset}-")


def _final(error: requests.RequestException) -> bool:
    """Whether another try is of no use: the server was reached and says no."""
    status = error.response.status_code if error.response is not None else 0
    return isinstance(error, TooLong) or (400 <= status < 500 and status not in (408, 429))


def wrong_checksum(file: File, where: object, actual: str, fix: str) -> DataError:
    """The error for a file that is not the one the catalogue knows."""
    return DataError(
        f"{where} is not the file that gatelab knows as {file.path}: its SHA-256 differs",
        expected=file.sha256,
        got=actual,
        fix=fix,
    )


def by_hand(file: File, target: Path) -> str:
    """Where a file may be put by who gets it another way."""
    return f"data/{file.path} in this folder, {target}, or {file.path} below a folder that GATELAB_DATA names"


def _unreachable(file: File, target: Path, error: requests.RequestException) -> DataError:
    status = error.response.status_code if error.response is not None else None
    if status is not None:
        got: object = f"{file.host} answers {status}"
    elif isinstance(error, requests.Timeout):
        got = f"{file.host} does not answer"
    elif isinstance(error, TooLong) or "broke off" in str(error):
        got = error
    else:
        got = f"no connection to {file.host}"
    return DataError(
        f"cannot download {file.path}",
        got=got,
        fix=f"try again when online (what has arrived is kept), or get {file.url} another way and put it at "
        + by_hand(file, target),
    )


@contextmanager
def _shown(file: File, licence: str) -> Iterator[Grown]:
    """Says what is downloaded and under which licence, and draws a bar while it comes (on a terminal)."""
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    console.print(f"downloading {file.path} ({file.bytes / 1e3:,.1f} kB) from {file.host}; licence: {licence}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(file.name, total=file.bytes)
        yield lambda count: progress.update(bar, completed=count)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Pooch tells the same in its own words."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
