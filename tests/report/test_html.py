"""The page: one file, escaped, balanced, complete."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gatelab.core.errors import InputError
from gatelab.report import Code, Figure, Page, Section, Table, palette, render, save
from gatelab.report.plots import Line, line_chart

HOSTILE = "<script>alert(1)</script> & \"q\" 'a' {{ 7*7 }} \x00\x07\x1b \u202e \ud800 --> ]]>"
PLOT = line_chart([Line("gru", None, [1, 2, 3], [0, 1, 2], [2, 3, 4])])
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Checks that tags balance, and keeps tags, attributes and text."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.data: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page(text: str = "word", figures: int = 2) -> Page:
    table = Table([text, "MAE"], [[text, "7.20 ± 0.05"], ["b", "–"], ["c", "<0.01"]], caption=text, marked=[1])
    plots = [Figure(PLOT, text, text) for _ in range(figures)]
    section = Section(text, [text, table, *plots, Code(text, text)])
    return Page(text, text, [(text, text), ("a", "b")], [section] * 3, text)


def test_tags_balance_and_everything_is_there():
    outline = Outline(render(page("something")))
    assert [attributes.get("name") for attributes in outline.all("meta")][1:3] == ["viewport", "color-scheme"]
    assert len(outline.all("h1")) == 1
    assert len(outline.all("h2")) == 3
    assert len(outline.all("figcaption")) == 3 * 4
    anchors = {attributes["href"][1:] for attributes in outline.all("a")}
    assert anchors == {attributes["id"] for attributes in outline.all("section")}


def test_hostile_text_stays_text():
    html = render(page(HOSTILE))
    outline = Outline(html)
    assert not outline.all("script")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", html)
    assert "{{ 7*7 }}" in html
    assert sum("<script>alert(1)</script>" in data for data in outline.data) >= 3 * 6
    assert not [key for _, attributes in outline.tags for key in attributes if key.startswith("on")]


def test_a_notebook_shows_a_picture_and_a_table_alone():
    assert Figure(PLOT)._repr_svg_() == PLOT
    shown = Outline(Table(["a", HOSTILE], [["x", 0.123456], [HOSTILE, None]], "caption")._repr_html_())
    assert [tag for tag, _ in shown.tags].count("td") == 4
    assert "script" not in [tag for tag, _ in shown.tags]
    assert {"caption", "0.1235", "–"} <= set(shown.data)


def test_no_network_and_no_script():
    html = render(page())
    assert set(re.findall(r"https?://[^\"' <]*", html)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|<link|<script|src=|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_light_dark_and_paper():
    html = render(page())
    dark = re.search(r"prefers-color-scheme:dark\)\{:root\{([^}]*)", html)[1]
    defined = dict(entry.split(":") for entry in dark.removeprefix("--").split(";--"))
    assert defined == {name: shade.dark for name, shade in palette.PALETTE.items()}
    own = {"columns", "wide", "narrow", "share"}
    assert set(re.findall(r"var\(--([\w-]+)", html)) <= set(defined) | own
    assert "@media print" in html


def test_ids_are_unique_over_equal_figures():
    html = render(page(figures=4))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html) + re.findall(r'<use href="#([^"]+)"', html)) <= set(ids)


def test_a_figure_says_what_it_shows():
    shown = Outline(render(page('a "quoted" <picture>'))).all("svg")
    assert {attributes["aria-label"] for attributes in shown if "role" in attributes} == {'a "quoted" <picture>'}


def test_columns_of_numbers_are_aligned_and_marked_rows_are_marked():
    outline = Outline(render(page()))
    heads = [attributes for attributes in outline.all("th") if attributes.get("scope") == "col"]
    assert [attributes.get("class") for attributes in heads[:2]] == [None, "number"]
    assert [attributes.get("class") for attributes in outline.all("tr")[:4]] == [None, None, "marked", None]


def test_numbers_that_are_not_finite_are_words():
    rows = [["a", float("nan"), np.float64("inf"), None, 1234567.8, 3]]
    html = render(Page("t", "v", [("x", float("nan"))], [Section("s", [Table(list("abcdef"), rows)])]))
    cells = re.findall(r"<td[^>]*>([^<]*)", html)
    assert cells == ["–", "∞", "–", "1,234,568", "3"]
    assert "nan" not in re.sub(r"<style>.*?</style>", "", html, flags=re.S)


def test_code_keeps_its_lines():
    html = render(Page("t", "v", sections=[Section("s", [Code("a\n\tb <c>")])]))
    assert "<code>a\n\tb &lt;c&gt;</code>" in html


def test_a_page_without_anything_renders():
    Outline(render(Page("t", "v")))


def test_the_same_page_the_same_file(tmp_path):
    save(page(), tmp_path / "a.html")
    save(page(), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == render(page())
    assert list(tmp_path.glob(".*")) == []


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'


@pytest.mark.parametrize(
    "svg",
    [
        "no svg",
        SVG.format("<g>"),
        SVG.format("<script>alert(1)</script>"),
        SVG.format('<g onload="alert(1)"/>'),
        SVG.format('<image href="http://example.org/a.png"/>'),
        SVG.format('<image xlink:href="data:text/html;base64,AA"/>'),
        SVG.format('<use href="javascript:alert(1)"/>'),
        SVG.format("<style>@import 'x'</style>"),
        SVG.format('<rect style="fill: url(http://example.org)"/>'),
        SVG.format("<foreignObject/>"),
        SVG.format('<p xmlns="http://www.w3.org/1999/xhtml"/>'),
        '<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.format("&a;"),
        "<g/>",
    ],
)
def test_a_figure_that_is_more_than_a_picture_is_refused(svg):
    with pytest.raises(InputError):
        render(Page("t", "v", sections=[Section("s", [Figure(svg)])]))


@pytest.mark.parametrize(
    "part",
    [Table(["a"], [["1", "2"]]), Table(["a"], [["1"]], marked=[1]), Table(["a"], [["1"]], marked=[-1]), 3, None, PLOT],
)
def test_parts_that_do_not_fit_are_refused(part):
    with pytest.raises(InputError):
        render(Page("t", "v", sections=[Section("s", [part])]))
