"""A ``Page`` as Markdown with its pictures as SVG files beside it: a report to keep under version control."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from gatelab.core import files
from gatelab.report.page import Code, Figure, Page, Section, Table
from gatelab.report.palette import light
from gatelab.report.text import clean, number

_SVG = "http://www.w3.org/2000/svg"
_MARGIN = 14
"""Paper around a picture, in pixels."""
_MARKUP = re.compile(r"([\\`*<|]|^(?=[#>+-]))", re.MULTILINE)


def save_markdown(page: Page, path: str | os.PathLike[str]) -> None:
    """Writes the page to ``path``, and its pictures into a folder of the same name without the suffix."""
    path = Path(path)
    text, pictures = markdown(page, path.stem)
    folder = path.with_suffix("")
    for name, svg in pictures.items():
        files.write_text(folder / name, svg + "\n")
    for old in set(folder.glob("[0-9]*.svg")) - {folder / name for name in pictures}:  # of an earlier writing
        old.unlink()
    files.write_text(path, text)


def markdown(page: Page, folder: str) -> tuple[str, dict[str, str]]:
    """The page as CommonMark with tables as GitHub writes them, and the SVG of each picture by file name.

    Args:
        page: what to write down.
        folder: where the text is to look for the pictures.
    """
    pictures: dict[str, str] = {}
    blocks = [f"# {as_text(page.title)}", f"**{as_text(page.verdict)}**", as_text(page.details)]
    blocks += [" · ".join(f"{as_text(name)}: {as_text(value)}" for name, value in page.facts)]
    for section in page.sections:
        blocks += [f"## {as_text(section.title)}", *_parts(section, folder, pictures)]
    blocks += [as_text(page.footer)]
    return "\n\n".join(block for block in blocks if block) + "\n", pictures


def _parts(section: Section, folder: str, pictures: dict[str, str]) -> Iterator[str]:
    for part in section.parts:
        if isinstance(part, Figure):
            name = f"{len(pictures) + 1}-{_slug(section.title)}.svg"
            pictures[name] = alone(part.svg)
            yield f"![{as_text(part.alt or part.caption)}]({folder}/{name})"
        elif isinstance(part, Table):
            yield as_table(part)
        elif isinstance(part, Code):
            yield as_code(part.text)
        else:
            yield as_text(part)
        if not isinstance(part, str) and part.caption:
            yield f"*{as_text(part.caption)}*"


def alone(svg: str) -> str:
    """A picture of ``report.plots`` as a file of its own: on paper, for it cannot know the colour of the page it is
    shown on, and without the layout for phones."""
    root = ElementTree.fromstring(svg)
    space = f"{{{_SVG}}}"
    for layout in root.findall(f"{space}svg[@class='narrow']"):
        root.remove(layout)
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    for layout in root.findall(f"{space}svg"):
        layout.attrib |= {"x": f"{_MARGIN}", "y": f"{_MARGIN}", "width": f"{width:g}", "height": f"{height:g}"}
    root.attrib |= {"width": f"{width + 2 * _MARGIN:g}", "height": f"{height + 2 * _MARGIN:g}"}
    root.insert(0, ElementTree.Element("rect", {"width": "100%", "height": "100%", "rx": "6", "fill": light("paper")}))
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def as_table(table: Table) -> str:
    """A table as GitHub writes them, without its caption."""
    rows = [table.columns, ["---"] * len(table.columns)]
    rows += [[f"**{cell}**" if at in table.marked and cell else cell for cell in map(as_text, row)]
             for at, row in enumerate(table.rows)]  # fmt: skip
    head, line, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (map(as_text, head), line, *rest))


def as_code(text: str) -> str:
    """Text between fences that are longer than any in it, so that it cannot end them.

    >>> print(as_code("a ``` b"))
    ````
    a ``` b
    ````
    """
    text = clean(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def as_text(value: object) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(clean(number(value)).split()))


def _slug(title: str) -> str:
    """A title as part of a file's name.

    >>> _slug("The GRU trains faster.")
    'the-gru-trains-faster'
    """
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())) or "picture"
