"""Files are written whole, under names that nobody can guess, and only files are read."""

import os

import pytest

from gatelab.core.errors import GatelabError
from gatelab.core.files import read_json, replacing, require_file, write_text


def test_a_temporary_name_cannot_be_guessed_and_follows_no_link(tmp_path, monkeypatch):
    names = []
    for _ in range(2):
        with replacing(tmp_path / "x.json") as temporary:
            names.append(temporary.name)
            temporary.write_text("{}")
    assert names[0] != names[1]
    assert str(os.getpid()) not in names[0].split(".")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr("gatelab.core.files.secrets.token_hex", lambda n: "known")
    (tmp_path / ".x.json.known.tmp").symlink_to(victim)
    with pytest.raises(GatelabError):
        write_text(tmp_path / "x.json", "other")
    assert victim.read_text() == "mine"


def test_a_file_has_the_rights_that_the_user_gives_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/null"):
        with pytest.raises(GatelabError, match="is not a file"):
            require_file(path)
    with pytest.raises(GatelabError, match="is not a file"):
        read_json(tmp_path / "pipe")


def test_json_that_is_nested_too_deep_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(GatelabError, match="nested too deep"):
        read_json(tmp_path / "deep.json")
