"""A ``Page`` as one HTML file: no network, no script, light and dark, phone and wide screen, paper."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from itertools import count
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gatelab.core import files
from gatelab.core.errors import InputError
from gatelab.report import palette
from gatelab.report.page import Code, Figure, Page, Section, Table
from gatelab.report.svg import prefix_ids
from gatelab.report.text import clean, label, number

_NUMERIC = re.compile(r"[<>≤≥≈~±+−-]*\s*[(\[]?\s*[+−-]?[\d.]+")
_NOTHING = {"", "–", "—", "-", "nan", "n/a", "∞", "−∞"}


def render(page: Page) -> str:
    """The page as HTML text. Everything in it is escaped; SVG is parsed and must be a picture and nothing else.

    Raises:
        InputError: a table whose rows do not fit its columns, an SVG that is not well-formed or reaches out of itself,
            a part of an unknown kind.
    """
    pictures = count(1)
    sections = [(f"section-{at}", _section(section, pictures)) for at, section in enumerate(page.sections, 1)]
    style = Markup(palette.css() + "\n" + _packaged("page.css"))
    return _template().render(page=page, sections=sections, css=style, fact_columns=_fact_columns(len(page.facts)))


def save(page: Page, path: str | os.PathLike[str]) -> None:
    """Writes ``render(page)`` to ``path``, whole or not at all."""
    files.write_text(path, render(page))


@cache
def _packaged(name: str) -> str:
    return resources.files("gatelab.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized
    )
    return environment.from_string(_packaged("page.html.j2"))


def _finalized(value: Any) -> Any:
    return value if isinstance(value, Markup) else clean(number(value))


def _fact_columns(count: int) -> int:
    """Up to five cards in a row; more in rows of three or four, as evenly as can be."""
    return count if count <= 5 else -(-count // -(-count // 4))


def _section(section: Section, pictures: Iterator[int]) -> dict[str, Any]:
    return {"title": section.title, "parts": [_part(part, pictures) for part in section.parts]}


def _part(part: Any, pictures: Iterator[int]) -> dict[str, Any]:
    """A part as the template draws it."""
    if isinstance(part, str):
        if part.startswith("<svg "):
            raise InputError("a picture stands among the paragraphs", fix="hand it over as Figure(svg, caption, alt)")
        return {"kind": "text", "text": part}
    if isinstance(part, Code):
        return {"kind": "code", "code": part}
    if isinstance(part, Figure):
        return {"kind": "figure", "svg": _inline(part, next(pictures)), "caption": part.caption}
    if isinstance(part, Table):
        return {"kind": "table", **_table(part)}
    raise InputError("a section cannot show this part", expected="text, Table, Figure or Code", got=type(part).__name__)


def _table(table: Table) -> dict[str, Any]:
    """The cells as text, with the columns of numbers known so that they are aligned on the right."""
    rows = [[clean(number(cell)) for cell in row] for row in table.rows]
    for at, row in enumerate(rows):
        if len(row) != len(table.columns):
            raise InputError(f"row {at} does not fit the table", expected=f"{len(table.columns)} cells", got=len(row))
    if wrong := [at for at in table.marked if not 0 <= at < len(rows)]:
        raise InputError("a marked row is not in the table", expected=f"0 to {len(rows) - 1}", got=wrong[0])
    numeric = [_is_numeric([row[at] for row in rows]) for at in range(len(table.columns))]
    return {"columns": table.columns, "rows": rows, "numeric": numeric, "marked": set(table.marked), "table": table}


def _is_numeric(cells: list[str]) -> bool:
    values = [cell.strip() for cell in cells if cell.strip().casefold() not in _NOTHING]
    return bool(values) and all(_NUMERIC.match(value) for value in values)


def _inline(figure: Figure, place: int) -> Markup:
    """The SVG with ids that no other picture of the page has, and its text for who cannot see it."""
    if "<!" in figure.svg:
        raise InputError("an SVG with declarations, comments or entities is not taken into a page")
    try:
        root = ElementTree.fromstring(figure.svg)
    except ElementTree.ParseError as error:
        raise InputError("a figure is not well-formed SVG", got=error, fix=_FIX) from error
    for node in root.iter():
        _refuse_reaching_out(node)
    if root.tag != "svg":
        raise InputError("a figure is not SVG", expected="<svg>", got=f"<{label(root.tag, 40)}>", fix=_FIX)
    prefix_ids(root, f"f{place}-")
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("role", "img")
    root.set("aria-label", label(figure.alt or figure.caption or root.get("aria-label") or "figure", 300))
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=True))


_HARMLESS = frozenset(
    {"svg", "g", "defs", "path", "use", "text", "tspan", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
    | {"clipPath", "mask", "pattern", "image", "title", "desc", "linearGradient", "radialGradient", "stop", "marker"}
)
_FIX = "draw it with gatelab.report.plots"
_OWN = re.compile(r"#|data:image/png;base64,")


def _refuse_reaching_out(node: ElementTree.Element) -> None:
    """Takes the name space off a node and lets only drawing pass: no script, no handler, no address."""
    node.tag = node.tag.removeprefix("{http://www.w3.org/2000/svg}")
    node.attrib = {key.rpartition("}")[2]: clean(value) for key, value in node.attrib.items()}
    outside = [value for key, value in node.attrib.items() if key in ("href", "src") and not _OWN.match(value)]
    outside += [value for value in node.attrib.values() if re.search(r"url\(\s*['\"]?(?!#)|@import", value)]
    handlers = [key for key in node.attrib if key.lower().startswith("on")]
    if node.tag not in _HARMLESS or outside or handlers:
        raise InputError(
            "a figure holds more than a picture",
            got=", ".join([f"<{label(node.tag, 40)}>", *(label(found, 60) for found in outside + handlers)]),
            fix=_FIX,
        )
