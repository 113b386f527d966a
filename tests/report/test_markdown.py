"""The page as Markdown: read again by a Markdown reader, nothing lost and nothing taken for markup."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from gatelab.report import Code, Figure, Page, Section, Table, save_markdown
from gatelab.report.markdown import alone, markdown
from gatelab.report.palette import light
from gatelab.report.plots import Line, line_chart

SVG = "{http://www.w3.org/2000/svg}"
PLOT = line_chart([Line("gru", None, [1, 2, 3], [0, 1, 2], [2, 3, 4])])
TABLE = Table(["cell", "a | b"], [["lstm_x", "1 * 2"], ["<b>", 3.14159265]], "Less is better.", marked=[1])
PAGE = Page(
    "Which?",
    "This one.",
    [("seeds", "5")],
    [Section("The data.", ["# no heading\n- no list", TABLE, Code("gatelab study x")]),
     Section("The data.", [Figure(PLOT, "A caption.", "A picture")]),
     Section("Σ", [Figure(PLOT)])],
    "Made by us.",
    "In detail.",
)  # fmt: skip


def test_the_text_line_by_line():
    text, pictures = markdown(PAGE, "page")
    assert text.splitlines() == [
        "# Which?", "", "**This one.**", "", "In detail.", "", "seeds: 5", "",
        "## The data.", "", "\\# no heading - no list", "",
        "| cell | a \\| b |", "| --- | --- |", "| lstm_x | 1 \\* 2 |", "| **\\<b>** | **3.142** |", "",
        "*Less is better.*", "", "```", "gatelab study x", "```", "",
        "## The data.", "", "![A picture](page/1-the-data.svg)", "", "*A caption.*", "",
        "## Σ", "", "![](page/2-picture.svg)", "",
        "Made by us.",
    ]  # fmt: skip
    assert list(pictures) == ["1-the-data.svg", "2-picture.svg"]


def test_a_reader_of_markdown_finds_the_same_table_and_pictures():
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    text, _ = markdown(PAGE, "page")
    html = ElementTree.fromstring(f"<page>{reader.render(text)}</page>")
    assert [heading.text for heading in html.iter("h2")] == ["The data.", "The data.", "Σ"]
    assert [["".join(cell.itertext()) for cell in row] for row in html.iter("tr")] == [
        ["cell", "a | b"], ["lstm_x", "1 * 2"], ["<b>", "3.142"],
    ]  # fmt: skip
    assert [picture.get("src") for picture in html.iter("img")] == ["page/1-the-data.svg", "page/2-picture.svg"]
    assert not list(html.iter("ul"))


@pytest.mark.parametrize("hostile", ["```\n<b>x</b>", "``\u202e``\n<b>x</b>", "a\n~~~\n<b>x</b>", "````` `"])
def test_nothing_in_a_text_ends_its_fence(hostile):
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    text, _ = markdown(Page("t", "v", sections=[Section("s", [Code(hostile), "after"])]), "page")
    html = reader.render(text)
    assert html.count("<pre>") == 1
    assert "<b>" not in html
    assert "<p>after</p>" in html


def test_pictures_lie_beside_the_text_and_those_of_an_earlier_writing_go(tmp_path):
    path = tmp_path / "docs" / "page.md"
    save_markdown(PAGE, path)
    (path.with_suffix("") / "notes.txt").write_text("mine")
    assert "(page/1-the-data.svg)" in path.read_text()
    save_markdown(replace(PAGE, sections=PAGE.sections[1:2]), path)
    assert sorted(file.name for file in path.with_suffix("").iterdir()) == ["1-the-data.svg", "notes.txt"]


def test_a_picture_of_its_own_lies_on_paper_in_one_layout():
    root, page = ElementTree.fromstring(alone(PLOT)), ElementTree.fromstring(PLOT)
    assert root.tag == f"{SVG}svg"
    paper, layout = root
    assert paper.tag == f"{SVG}rect"
    assert paper.get("fill") == light("paper")
    assert layout.get("class") == "wide"
    wide = page.find(f"{SVG}svg[@class='wide']")
    assert [*layout.itertext()] == [*wide.itertext()]
    width, height = (float(root.get(side)) for side in ("width", "height"))
    assert float(layout.get("x")) + float(layout.get("width")) < width
    assert float(layout.get("y")) + float(layout.get("height")) < height
