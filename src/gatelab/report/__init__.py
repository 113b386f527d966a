"""Plots and the page, in one HTML file or in Markdown: draws what it is handed, knows no task."""

from gatelab.report.html import render, save
from gatelab.report.markdown import save_markdown
from gatelab.report.page import Code, Figure, Page, Section, Table

__all__ = ["Code", "Figure", "Page", "Section", "Table", "render", "save", "save_markdown"]
