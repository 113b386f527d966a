"""The report of a question study: the answer first, then what it rests on; made from the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatelab.report.page import Code, Page, Section, Table
from gatelab.report.text import duration

if TYPE_CHECKING:
    from gatelab.studies.experiment import Experiment


def experiment_page(study: Experiment, results: Mapping[str, Any]) -> Page:
    """The page of one study."""
    findings = results["findings"]
    sections = [Section(name, [figure]) for name, figure in (study.figures(findings) if findings else {}).items()]
    sections += [Section(name, [table]) for name, table in (study.tables(findings) if findings else {}).items()]
    if results["failed"]:
        sections.append(Section("What did not finish", [_failures(results)]))
    sections += [Section("How it was done", list(study.protocol)), _reproduce(results)]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    footer = f"Made by gatelab. {versions}."
    return Page(study.question, results["headline"], _facts(results), sections, footer, results["verdict"])


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("trials", str(results["trials"])),
        ("seeds", str(len(results["seeds"]))),
        ("budget", results["budget"]),
        ("time in trials", duration(results["seconds"])),
    ]


def _failures(results: Mapping[str, Any]) -> Table:
    rows = [[entry["trial"], entry["status"], (entry["message"].splitlines() or [""])[0]]
            for entry in results["failed"]]  # fmt: skip
    return Table(["trial", "what happened", "why"], rows)


def _reproduce(results: Mapping[str, Any]) -> Section:
    machine = results["machine"]
    again = "The same command goes on where it was stopped; with more seeds or cells only these are run."
    parts: list[Any] = [Code(results["command"], again)] if results["command"] else []
    parts.append(
        f"Seeds {', '.join(map(str, results['seeds']))}. "
        f"Machine: {machine['system']}, {machine['cores']} cores; one thread each trial."
    )
    if results["warnings"]:
        parts.append(f"Libraries warned of: {'; '.join(results['warnings'][:5])}")
    return Section("How to reproduce", parts)
