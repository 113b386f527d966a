"""Ids in SVG that is put into one document with other SVG."""

from __future__ import annotations

from xml.etree import ElementTree


def prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    """Puts ``prefix`` before every id and every reference to one; name spaces are taken off already."""
    for node in root.iter():
        for key, value in node.attrib.items():
            if key == "id":
                node.set(key, prefix + value)
            elif key == "href" and value.startswith("#"):
                node.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                node.set(key, value.replace("url(#", f"url(#{prefix}"))
