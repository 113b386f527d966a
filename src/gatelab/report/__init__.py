"""Plots and the one-file HTML page: draws what it is handed, knows no task."""

from gatelab.report.html import render, save
from gatelab.report.page import Code, Figure, Page, Section, Table

__all__ = ["Code", "Figure", "Page", "Section", "Table", "render", "save"]
