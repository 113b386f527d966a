"""Downloads against servers on this machine that behave, break off, ignore Range, send too much, or refuse."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gatelab.core.errors import DataError
from gatelab.data import download
from gatelab.data.catalogue import File

CONTENT = bytes(range(256)) * 2000  # 512 kB


class Server(ThreadingHTTPServer):
    """Serves ``content``; how badly is set by the attributes."""

    daemon_threads = True
    content = CONTENT
    ranges = True
    break_after: int | None = None
    """Bytes after which each answer breaks off."""
    announces = True
    """Whether answers have a Content-Length."""
    statuses: tuple[int, ...] = ()
    """Statuses of the first answers, without content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if len(server.asked) <= len(server.statuses):
            self.send_response(server.statuses[len(server.asked) - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.announces:
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        stop = None if server.break_after is None else start + server.break_after
        self.wfile.write(server.content[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(server, folder, content=CONTENT) -> bytes:
    file = File("toy/file.bin", len(content), hashlib.sha256(content).hexdigest(), server.url)
    path = download.download(file, "CC BY 4.0", folder)
    assert path == folder / "toy/file.bin"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"], "nothing is left behind"
    return path.read_bytes()


def left_behind(folder, content: bytes) -> None:
    (folder / "toy").mkdir(parents=True)
    (folder / "toy/file.bin.part").write_bytes(content)


def test_a_file_comes_whole_and_its_licence_is_said(server, tmp_path, capsys):
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == [None]
    said = capsys.readouterr()
    assert said.out == ""
    assert "licence: CC BY 4.0" in said.err
    assert "toy/file.bin" in said.err


@pytest.mark.parametrize("announces", [True, False])
def test_what_breaks_off_is_continued(server, tmp_path, announces):
    server.break_after, server.announces = 163_840, announces
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == [None, "bytes=163840-", "bytes=327680-", "bytes=491520-"]


def test_what_an_earlier_run_left_is_continued(server, tmp_path):
    left_behind(tmp_path, CONTENT[:100_001])
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=100001-"]


def test_what_an_earlier_run_finished_is_not_asked_for(server, tmp_path):
    left_behind(tmp_path, CONTENT)
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == []


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    left_behind(tmp_path, CONTENT[:100_001])
    assert fetched(server, tmp_path) == CONTENT


def test_remains_of_another_file_are_thrown_away(server, tmp_path):
    left_behind(tmp_path, b"x" * 100_001)
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=100001-", None]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    server.statuses = (status, status)
    assert fetched(server, tmp_path) == CONTENT


def test_a_server_that_says_no_is_not_asked_again(server, tmp_path):
    server.statuses = (404,) * 5
    with pytest.raises(DataError, match="answers 404"):
        fetched(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_breaks_off_at_once_is_given_up_and_what_came_is_kept(server, tmp_path):
    left_behind(tmp_path, CONTENT[:1000])
    server.break_after = 0
    with pytest.raises(DataError, match=r"cannot download toy/file\.bin"):
        fetched(server, tmp_path)
    assert len(server.asked) == download.ATTEMPTS
    assert (tmp_path / "toy/file.bin.part").read_bytes() == CONTENT[:1000]


def test_another_file_of_the_same_length_is_refused(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(DataError) as caught:
        fetched(server, tmp_path)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
    assert list((tmp_path / "toy").iterdir()) == []


def test_a_server_that_sends_too_much_is_stopped(server, tmp_path):
    server.content = CONTENT + b"x"
    with pytest.raises(DataError, match="more than the 512,000 bytes"):
        fetched(server, tmp_path)
    assert not (tmp_path / "toy/file.bin").exists()


def test_who_comes_second_waits_and_downloads_nothing(server, tmp_path):
    threads = [threading.Thread(target=fetched, args=(server, tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [None]
