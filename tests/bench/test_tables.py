"""A report as text: nothing is lost, nothing is shown for a case that was refused."""

from gatelab.bench import tables
from gatelab.bench.figures import Bound, Figure, Row
from gatelab.bench.harness import Report, Settings, Suite

ENVIRONMENT = {
    "cpu": "a processor", "cores": 2, "load": 0.1, "system": "Linux", "date": "2026-11-21", "device": "cpu",
    "versions": {"torch": "2.13"}, "environment": {"OMP_NUM_THREADS": "1"},
}  # fmt: skip
ROWS = (
    Row("train", "gru", "gru", (Figure("us", 1.234, "ms"), Figure("x", 2.5, low=2.4, high=2.6, bound=Bound(3)))),
    Row("train", "lstm", "lstm", (Figure("us", 0.5, "ms"), Figure("y", 1.0))),
    Row("train", "rnn", "rnn", problem="A and B | do not compute the same"),
)
REPORT = Report(ENVIRONMENT, Settings(), ROWS, (("train", Figure("mean", 4.0, bound=Bound(3))),), ("busy",))
SUITE = Suite("train", "forward and backward", lambda settings: [])


def test_columns_are_all_figures_in_their_order_with_units():
    assert tables.headers(ROWS) == ["case", "us [ms]", "x", "y"]


def test_cells_stand_under_their_headers():
    assert list(tables.cells(ROWS)) == [
        ["gru", "1.23", "2.5 [2.4, 2.6] ✗ ≥ 3", ""],
        ["lstm", "0.5", "", "1"],
        ["rnn: refused, see below", "", "", ""],
    ]


def test_the_page_says_what_was_found_on_what_and_what_was_refused():
    page = tables.markdown(REPORT, [SUITE], "gatelab bench train")
    for said in ("`gatelab bench train`", "a processor, 2 cores", "OMP_NUM_THREADS=1", "torch 2.13", "## train",
                 "- mean: 4 ✓ ≥ 3", "- busy", "- train rnn: A and B"):  # fmt: skip
        assert said in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {5}
