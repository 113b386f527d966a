"""Plots as inline SVG: arrays and names in, text out.

Every function gives one ``<svg>`` for ``report.page.Figure``: text as text in the page's font, colours that follow the
page into the dark, one layout for wide screens and one for phones. The same input gives the same text.
"""

from gatelab.report.plots.lines import Line, Panel, line_chart, panels

__all__ = ["Line", "Panel", "line_chart", "panels"]
