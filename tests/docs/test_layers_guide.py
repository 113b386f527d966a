"""The guide to the layers does what it says, and names all there is."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch

from gatelab import nn as gnn
from gatelab.nn.extras import EXTRAS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "layers.md"
README = ROOT / "README.md"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch._dynamo.reset()
    monkeypatch.chdir(tmp_path)
    # Which graph there is, the guide is about; what a C++ compiler makes of it in a minute, it is not.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    torch.set_num_threads(threads)


def section(page: Path, title: str) -> str:
    parts = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = [part for part in parts if part.startswith(title)]
    return found


def run(text: str, name: str) -> int:
    """Runs the Python blocks one after the other, as one reader would; gives their number."""
    blocks, names = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL), {}
    for block in blocks:
        exec(compile(block, f"{name}:\n{block}", "exec"), names)
    return len(blocks)


@pytest.mark.parametrize("title", ["For a learner", "Layers"])
def test_the_readme_runs(title):
    assert run(section(README, title), "README.md") == 1


def test_the_guide_runs():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    text = GUIDE.read_text(encoding="utf-8")
    assert run(text, "docs/layers.md") == text.count("```python")


def test_the_guide_names_every_extra_with_the_layers_that_have_it():
    table = section(GUIDE, "Extras")
    rows = {row.split("=")[0]: row for row in re.findall(r"^\| `(.*)$", table, flags=re.MULTILINE)}
    assert set(EXTRAS) <= set(rows)
    for name, extra in EXTRAS.items():
        layers = rows[name].split("|")[2].strip()
        families = {"all": ("rnn", "lstm", "gru", "min_gru", "min_lstm")}.get(layers, layers.lower().split(", "))
        assert tuple(families) == extra.families, name


def test_the_guide_names_every_layer_and_cell():
    text = GUIDE.read_text(encoding="utf-8")
    kinds = [value for value in vars(gnn).values() if isinstance(value, type) and issubclass(value, torch.nn.Module)]
    assert len(kinds) > 8
    assert [kind.__name__ for kind in kinds if not re.search(rf"`{kind.__name__}\b|\b{kind.__name__}`", text)] == []


def test_every_link_to_a_section_of_the_guide_leads_somewhere():
    text = GUIDE.read_text(encoding="utf-8")
    titles = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= titles
