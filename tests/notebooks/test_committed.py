"""The committed notebooks: executed to the end, the same as the scripts beside them, naming no place on a machine."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
SCRIPTS = sorted(path.with_suffix(".py") for path in FOLDER.glob("*.ipynb"))
NOTEBOOK = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
PLACES = re.compile(r"/(home|root|tmp|work|Users|private|var)/[\w.-]+|[A-Z]:\\\\Users")


def committed(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@NOTEBOOK
def test_a_notebook_says_what_its_script_says(script):
    written, shown = jupytext.read(script), committed(script)
    told = [[(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (written, shown)]
    assert told[0] == told[1], f"jupytext --sync {script.name}, then run it again"


@NOTEBOOK
def test_a_notebook_was_run_from_top_to_bottom_without_an_error(script):
    cells = code_of(committed(script))
    counts = [cell.execution_count for cell in cells if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))
    assert any(output for cell in cells for output in cell.outputs)
    for cell in cells:
        assert not [output for output in cell.outputs if output.output_type == "error"]
        assert not [output for output in cell.outputs if output.get("name") == "stderr"]


@NOTEBOOK
def test_a_notebook_names_no_place_on_a_machine(script):
    text = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert not PLACES.search(text), PLACES.search(text)
