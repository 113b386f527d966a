"""Data sets by name: where they are looked for, and that nothing wrong is taken."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path

import pytest

from gatelab.core.errors import DataError, GatelabError, InputError
from gatelab.data import download, sources
from gatelab.data.catalogue import DATASETS, Dataset, File, dataset

CONTENT = b"date,y\n2020-01-01,1\n2020-01-02,2\n"
MIRROR = os.environ.get("GATELAB_DATA")
GATELABS_OWN = {"co2_weekly", "sunspots_yearly", "elnino_monthly", "us_macro_quarterly", "digits"}


def file_of(content: bytes, path: str = "toy/toy.csv", url: str | None = "http://127.0.0.1:9/toy.csv") -> File:
    return File(path, len(content), hashlib.sha256(content).hexdigest(), url, {"target": ["y"]})


def toy(**changes) -> Dataset:
    values = {"files": (file_of(CONTENT),), "main": "toy.csv", "licence": "MIT", "citation": "", "source": "https://x"}
    return Dataset("toy", "Toy", "time series", "A toy.", **{**values, **changes})


def put(root: Path, content: bytes = CONTENT, path: str = "toy/toy.csv") -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
    return root / path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty mirror, working directory and cache, and a catalogue that also has the set ``toy``."""
    folders = {name: tmp_path / name for name in ("mirror", "work", "cache")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("GATELAB_DATA", str(folders["mirror"]))
    monkeypatch.setenv("GATELAB_CACHE", str(folders["cache"]))
    monkeypatch.chdir(folders["work"])
    set_catalogue(monkeypatch, toy())
    return folders


def set_catalogue(monkeypatch, *sets: Dataset) -> None:
    known = {**DATASETS, **{entry.name: entry for entry in sets}}
    monkeypatch.setattr("gatelab.data.sources.DATASETS", known)
    monkeypatch.setattr("gatelab.data.catalogue.DATASETS", known)


def test_a_file_is_taken_from_the_mirror_then_data_then_the_cache(places):
    in_cache = put(places["cache"])
    assert sources.locate_file("toy") == in_cache
    put(places["work"] / "data")
    assert sources.locate_file("toy") == Path("data/toy/toy.csv")
    in_mirror = put(places["mirror"])
    assert sources.locate_file("toy") == in_mirror
    assert sources.locate("toy") == places["mirror"] / "toy"


@pytest.mark.parametrize("place", ["mirror", "work", "cache"])
def test_a_wrong_checksum_is_refused_wherever_it_came_from(places, place):
    wrong = put(places[place] / "data" if place == "work" else places[place], CONTENT.replace(b"2\n", b"3\n"))
    with pytest.raises(DataError) as caught:
        sources.locate_file("toy")
    message = str(caught.value)
    assert str(wrong.name) in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert hashlib.sha256(wrong.read_bytes()).hexdigest() in message


def test_a_file_is_hashed_once_and_again_when_it_changes(places, monkeypatch):
    hashed = []
    monkeypatch.setattr(sources, "digest", lambda path: hashed.append(path) or hashlib.sha256(CONTENT).hexdigest())
    path = put(places["mirror"])
    sources.locate_file("toy")
    sources.locate_file("toy")
    assert len(hashed) == 1
    os.utime(path, ns=(1, 1))
    sources.locate_file("toy")
    assert len(hashed) == 2


def test_a_mirror_that_is_not_there_is_an_error(places, monkeypatch):
    monkeypatch.setenv("GATELAB_DATA", str(places["mirror"] / "gone"))
    with pytest.raises(InputError, match="GATELAB_DATA"):
        sources.locate_file("toy")


def test_offline_the_error_says_where_to_put_the_file(places, monkeypatch):
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.0)
    with pytest.raises(DataError) as caught:
        sources.locate_file("toy")
    message = str(caught.value)
    for part in (
        "http://127.0.0.1:9/toy.csv",
        "data/toy/toy.csv",
        str(places["cache"] / "toy/toy.csv"),
        "GATELAB_DATA",
    ):
        assert part in message


def test_a_file_without_an_address_comes_from_a_mirror_only(places, monkeypatch):
    set_catalogue(monkeypatch, toy(files=(file_of(CONTENT, url=None),)))
    with pytest.raises(DataError, match=r"cannot be downloaded(.|\n)*GATELAB_DATA"):
        sources.locate_file("toy")
    in_mirror = put(places["mirror"])
    assert sources.locate_file("toy") == in_mirror


def test_a_folder_is_gathered_when_its_files_lie_in_several_places(places, monkeypatch):
    second = file_of(b"b\n", "toy/sub/b.txt")
    set_catalogue(monkeypatch, toy(files=(file_of(CONTENT), second)))
    put(places["mirror"])
    put(places["work"] / "data", b"b\n", second.path)
    folder = sources.locate("toy")
    assert folder == places["cache"] / "toy"
    assert (folder / "toy.csv").read_bytes() == CONTENT
    assert (folder / "sub/b.txt").read_bytes() == b"b\n"


def test_export_copies_and_may_be_repeated(places, tmp_path):
    put(places["mirror"])
    for _ in range(2):
        assert (sources.export("toy", tmp_path / "out") / "toy.csv").read_bytes() == CONTENT


def test_resolve_takes_paths_names_and_files_of_data_sets(places, monkeypatch):
    put(places["mirror"])
    put(places["mirror"], b"b\n", "toy/sub/b.txt")
    set_catalogue(monkeypatch, toy(files=(file_of(CONTENT), file_of(b"b\n", "toy/sub/b.txt"))))
    assert sources.resolve("toy").name == "toy.csv"
    assert sources.resolve("toy/b.txt") == sources.resolve("toy/sub/b.txt") == places["mirror"] / "toy/sub/b.txt"
    own = put(places["work"], b"mine", "own.csv")
    assert sources.resolve("own.csv") == Path("own.csv")
    assert sources.resolve(own) == own


def test_a_file_wins_over_a_data_set_and_a_data_set_over_a_folder(places):
    in_mirror = put(places["mirror"])
    (places["work"] / "toy").mkdir()
    assert sources.resolve("toy") == in_mirror
    assert sources.hints("toy") == {"target": ["y"]}
    (places["work"] / "toy").rmdir()
    put(places["work"], b"mine", "toy")
    assert sources.resolve("toy") == Path("toy")
    assert sources.hints("toy") == {}


@pytest.mark.parametrize(
    ("source", "near"),
    [("co2_weekley", "co2_weekly"), ("sales.cvs", "sales.csv"), ("folder/sales.cvs", "folder/sales.csv")],
)
def test_an_unknown_source_is_said_to_be_neither_file_nor_name(places, source, near):
    put(places["work"], path="sales.csv")
    put(places["work"], path="folder/sales.csv")
    with pytest.raises(InputError) as caught:
        sources.resolve(source)
    assert "no file" in str(caught.value)
    assert "no data set" in str(caught.value)
    assert near in caught.value.fix


def test_an_unknown_file_of_a_data_set_names_the_near_ones():
    with pytest.raises(InputError, match=r"train\.csv"):
        sources.resolve("traffic_pems/trian.csv")
    with pytest.raises(InputError, match="co2_weekly"):
        sources.locate("co2_weekley")


@pytest.mark.parametrize("name", sorted(GATELABS_OWN))
def test_bundled_sets_need_neither_network_nor_mirror(places, name):
    path = sources.locate_file(name)
    assert path.is_relative_to(places["cache"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == dataset(name).files[0].sha256
    assert sources.locate(name) == path.parent


def test_the_default_series_is_weekly_with_59_gaps(places):
    rows = sources.locate_file("co2_weekly").read_text().splitlines()[1:]
    assert len(rows) == 2284
    assert sum(row.endswith(",") for row in rows) == 59


def test_a_cache_that_cannot_be_written_to_is_a_clear_error(places, monkeypatch):
    put(places["work"], b"", "file")
    monkeypatch.setenv("GATELAB_CACHE", "file/cache")
    for name in ("co2_weekly", "toy"):
        with pytest.raises(GatelabError, match="GATELAB_CACHE"):
            sources.locate_file(name)


@pytest.mark.parametrize("found", DATASETS.values(), ids=lambda entry: entry.name)
def test_every_entry_of_the_catalogue_is_complete(found):
    assert found.file(found.main)
    assert found.test is None or found.file(found.test)
    assert found.licence
    assert found.citation
    assert found.description.endswith(".")
    for file in found.files:
        assert file.path.startswith(found.name + "/")
        assert ".." not in Path(file.path).parts
        assert file.url is None or found.commit in file.url
        assert len(file.sha256) == 64


@pytest.mark.parametrize(
    "found", [entry for entry in DATASETS.values() if entry.group == "time series"], ids=lambda entry: entry.name
)
def test_hints_are_roles(found):
    from gatelab.core.config import from_dict
    from gatelab.data.roles import Roles

    assert dataclasses.is_dataclass(from_dict(Roles, found.roles))


def test_hints_stand_where_the_user_says_nothing():
    from gatelab.data.roles import Roles

    hinted = sources.with_hints("us_macro_quarterly", Roles())
    assert (hinted.target, hinted.time, hinted.past) == (("unemp",), "date", None)
    assert sources.with_hints("us_macro_quarterly", Roles(target=("infl",))).target == ("infl",)
    assert sources.with_hints("beijing_pm25", Roles(past=())).past == ()
    # A column the user gave another role is not named twice.
    turned = sources.with_hints("beijing_pm25", Roles(target=("TEMP",)))
    assert "TEMP" not in turned.past
    assert "DEWP" in turned.past
    assert sources.with_hints("us_macro_quarterly", Roles(past=("unemp",))).target == ()
    assert sources.with_hints("us_macro_quarterly", Roles(id="date")).time is None


@pytest.mark.parametrize(
    ("source", "test"),
    [("traffic_pems", "traffic_pems/test.csv"), ("traffic_pems/train.csv", "traffic_pems/test.csv"),
     ("traffic_pems/test.csv", None), ("co2_weekly", None), ("own.csv", None), (3, None)],
)  # fmt: skip
def test_a_test_file_of_its_own_is_known(source, test):
    assert sources.own_test(source) == test


@pytest.mark.parametrize("source", ["own.csv", 3, None, Path("/co2_weekly")])
def test_no_hints_for_anything_else(source):
    from gatelab.data.roles import Roles

    assert sources.with_hints(source, Roles()) == Roles()


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_an_entry_of_the_catalogue_is_complete(entry):
    assert entry.title
    assert entry.description
    assert entry.licence
    assert entry.main in {file.name for file in entry.files} | {""}
    paths = [file.path for file in entry.files]
    assert len(set(paths)) == len(paths)
    for file in entry.files:
        assert file.path.startswith(f"{entry.name}/")
        assert file.bytes > 0
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        if file.url:
            assert file.url.startswith("https://")
            assert "/main/" not in file.url  # pinned: a branch would change under the checksum
            assert "/master/" not in file.url


@pytest.mark.skipif(not MIRROR, reason="needs the public data: set GATELAB_DATA")
@pytest.mark.parametrize("name", sorted(set(DATASETS) - GATELABS_OWN))
def test_the_files_of_the_mirror_are_those_of_the_catalogue(name, monkeypatch):
    monkeypatch.setenv("GATELAB_DATA", str(MIRROR))
    if not Path(MIRROR, name).is_dir():
        pytest.skip(f"the mirror has no {name}")
    for file in dataset(name).files:
        if file.bytes < 3_000_000:
            assert sources.locate_file(name, file.name).stat().st_size == file.bytes
