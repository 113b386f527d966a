"""Plots as inline SVG: arrays and names in, text out.

Every function gives one ``<svg>`` for ``report.page.Figure``: text as text in the page's font, colours that follow the
page into the dark, one layout for wide screens and one for phones. The same input gives the same text.
"""

from gatelab.report.plots.heat import heat_map
from gatelab.report.plots.lines import Line, Panel, line_chart, panels
from gatelab.report.plots.picture import Picture
from gatelab.report.plots.relations import coverage_chart, histogram, scatter
from gatelab.report.plots.rows import bar_chart, interval_chart

__all__ = [
    "Line",
    "Panel",
    "Picture",
    "bar_chart",
    "coverage_chart",
    "heat_map",
    "histogram",
    "interval_chart",
    "line_chart",
    "panels",
    "scatter",
]
