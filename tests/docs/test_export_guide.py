"""The page on exporting does what it says, and its tables are those that were measured."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
REPORT = json.loads((ROOT / "benchmarks" / "runtimes.json").read_text())
pytest.importorskip("onnxruntime")


@pytest.fixture
def runtimes(monkeypatch):
    spec = importlib.util.spec_from_file_location("runtimes", ROOT / "benchmarks" / "runtimes.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "runtimes", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(block, "docs/export.md", "exec"), {})


def test_the_tables_are_those_that_were_measured(runtimes):
    tables = runtimes.markdown(REPORT).split("\n\n")
    assert len(tables) == len(REPORT["versions"]) + 1  # and a list of what runtimes said
    for title, table in zip(REPORT["versions"], tables, strict=False):
        if title.startswith("onnxruntime-"):  # the page says in a sentence that all is the same there
            assert max(row[title] for row in REPORT["cases"]) <= runtimes.ALIKE
        else:
            assert table in PAGE
    assert tables[-1].strip() in PAGE


def test_every_cell_and_form_was_measured_and_is_the_same_in_onnxruntime(runtimes):
    measured = {(row["cell"], row["form"]): row["onnxruntime"] for row in REPORT["cases"]}
    assert set(measured) == {(cell, form) for cell in runtimes.CELLS for form in runtimes.FORMS}
    assert max(measured.values()) <= runtimes.ALIKE


def test_a_graph_that_computes_something_else_would_be_seen(runtimes, monkeypatch, tmp_path):
    monkeypatch.setattr(runtimes, "CELLS", {"GRU": runtimes.CELLS["GRU"]})
    forms = {name: runtimes.FORMS[name] for name in ("a length of 0", "all of it", "eight bits")}
    monkeypatch.setattr(runtimes, "FORMS", forms)
    everything = list(runtimes.cases())
    found = list(runtimes.in_onnxruntime(everything, tmp_path))
    assert all(runtimes.measure(*pair) <= runtimes.ALIKE for pair in zip(everything, found, strict=True))
    found[0]["h_n"][0, 1] = 0.0  # what onnxruntime's own node gives an item of no steps
    assert runtimes.measure(everything[0], found[0]) > 0.01
    assert runtimes.entry(runtimes.measure(everything[0], found[0]), []).startswith("**off by")
