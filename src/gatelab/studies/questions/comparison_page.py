"""What the comparison shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gatelab.cells.cell import CELLS
from gatelab.core.task import Metric
from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import duration, number
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Estimate, against
from gatelab.studies.verdict import amount, beside_baseline
from gatelab.studies.wording import called, listed

Rows = Sequence[Mapping[str, Any]]
Set = Mapping[str, Any]
GRU, LSTM, RNN, BEFORE = "gru", "lstm", "rnn", "gru_reset_before"
_ARIMA = "ARIMA"
_RATIOS = {"error": "error", "steps": "steps to level", "time": "time of a step"}
_FAR = 1.6
"""A baseline whose error is more than so many times that of every cell would flatten a picture."""


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """LSTM or GRU; the RNN beside both; steps and cost; where the reset gate stands; baselines."""
    error, steps = findings["ratios"]["error"], findings["ratios"]["steps"]
    gated = pair(error, GRU, LSTM)
    return [
        _headline(findings, gated),
        *([f"Error of the GRU over that of the LSTM: {_each(gated)}; a star: beyond chance."] if gated else []),
        *_beside_the_rnn(error),
        *_steps(pair(steps, GRU, LSTM), findings["sets"]),
        *_costs(pair(findings["costs"], GRU, LSTM)),
        *_placement(pair(error, GRU, BEFORE), findings["swapped"]),
        *(_baseline(each) for each in findings["sets"] if each["baselines"]),
        *(_arima(each) for each in findings["sets"] if _ARIMA in each["baselines"]),
        *_too_few(findings["sets"]),
    ]


def pair(ratios: Rows, a: str, b: str) -> list[dict[str, Any]]:
    """The ratios of ``a`` to ``b``, one a set of data; those of ``b`` to ``a`` are turned round."""
    straight = [dict(ratio) for ratio in ratios if (ratio["a"], ratio["b"]) == (a, b)]
    return straight or [_turned(ratio) for ratio in ratios if (ratio["a"], ratio["b"]) == (b, a)]


def _turned(ratio: Mapping[str, Any]) -> dict[str, Any]:
    ends = {end: None if ratio[other] is None else 1 / ratio[other]
            for end, other in (("mean", "mean"), ("low", "high"), ("high", "low"))}  # fmt: skip
    return {**ratio, "a": ratio["b"], "b": ratio["a"], **ends}


def _headline(findings: Mapping[str, Any], gated: Rows) -> str:
    if gated:
        return f"At equal parameters, after {_epochs(findings['sets'])} epochs, {_won(gated)}."
    cells = list(dict.fromkeys(cell for each in findings["sets"] for cell in each["cells"]))
    where = listed([each["data"] for each in findings["sets"]])
    return f"{listed([called(cell) for cell in cells])} on {where}: LSTM and GRU were not both trained."


def _epochs(sets: Iterable[Set]) -> str:
    counts = [each["epochs"] for each in sets]
    return f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])


def _won(ratios: Rows) -> str:
    """Who errs less where, and where no difference was found."""
    a, b = called(ratios[0]["a"]), called(ratios[0]["b"])
    parts = []
    for cell, below in ((a, True), (b, False)):
        where = [ratio["data"] for ratio in ratios if ratio["found"] and (ratio["mean"] < 1) == below]
        parts += [f"the {cell} errs less on {listed(where)}"] if where else []
    open_ = [ratio["data"] for ratio in ratios if not ratio["found"]]
    parts += [f"no difference is found between {a} and {b} on {listed(open_)}"] if open_ else []
    return "; ".join(parts)


def _each(ratios: Rows) -> str:
    """Ratios with their intervals; a star where they are beyond chance."""
    return "; ".join(f"{ratio['data']} {amount(_estimate(ratio), digits=3)}{'*' * bool(ratio.get('found'))}"
                     for ratio in ratios)  # fmt: skip


def _beside_the_rnn(error: Rows) -> list[str]:
    return [f"{called(cell)} and RNN: {_won(ratios)} (error over the RNN's: {_each(ratios)})."
            for cell in (LSTM, GRU) if (ratios := pair(error, cell, RNN))]  # fmt: skip


def _steps(ratios: Rows, sets: Iterable[Set]) -> list[str]:
    """Which of the two needs fewer steps, and who never got to the level."""
    late = [f"{called(cell)} on {each['data']} {missed} of {found['finished']}"
            for each in sets for cell, found in each["cells"].items()
            if (missed := found["finished"] - found["reached"])]  # fmt: skip
    said = []
    if ratios:
        said.append(f"Steps of the GRU over those of the LSTM until the level: {_each(ratios)}; "
                    f"{_fewer(ratios)}.")  # fmt: skip
    return said + ([f"Trainings that never got to the level: {'; '.join(late)}."] if late else [])


def _fewer(ratios: Rows) -> str:
    sure = [ratio for ratio in ratios if ratio["found"]]
    if not sure:
        return "no difference found"
    return listed([f"{'fewer' if ratio['mean'] < 1 else 'more'} on {ratio['data']}" for ratio in sure])


def _costs(ratios: Rows) -> list[str]:
    if not ratios:
        return []
    memory = [f"{ratio['data']} {number(ratio['memory'], 2)}" for ratio in ratios if ratio["memory"] is not None]
    added = f"; its memory over the LSTM's: {'; '.join(memory)}" if memory else ""
    return [f"Time of a step of training, GRU over LSTM: {_each(ratios)}{added}."]


def _placement(ratios: Rows, swapped: Rows) -> list[str]:
    said = []
    if ratios:
        said.append(f"Where the reset gate stands, trained: {_won(ratios)} (error with the gate after the "
                    f"multiplication over error with it before: {_each(ratios)}).")  # fmt: skip
    moved = [f"{ratio['data']}, trained as {called(ratio['a'])}, {amount(_estimate(ratio), digits=3)}"
             for ratio in swapped]  # fmt: skip
    if moved:
        said.append(f"The same weights run with the gate in the other place, error over error: {'; '.join(moved)}.")
    return said


def _baseline(each: Set) -> str:
    return f"{each['data']}: {beside_baseline(standing(each))}"


def _arima(each: Set) -> str:
    """Each cell against ARIMA, which need not be the best baseline."""
    mark = each["baselines"][_ARIMA]
    gaps = against(_values(each), _ARIMA, mark)
    told = listed([f"{called(gap.a)} {amount(gap.percent, '%', 2)}{'*' * gap.found}" for gap in gaps if gap.percent])
    return f"{each['data']}, beside ARIMA ({each['metric']} {number(mark)}): {told}."


def _too_few(sets: Iterable[Set]) -> list[str]:
    counts = [found["finished"] for each in sets for found in each["cells"].values()]
    return ["With one seed no interval can be given: what is said may be luck."] if min(counts) < 2 else []


def standing(each: Set) -> Standing:
    """Cells and baselines of one set of data."""
    return Standing.of(Metric(each["metric"], unit=each["unit"]), _values(each), each["baselines"])


def _values(each: Set) -> dict[str, dict[int, float]]:
    """Errors by seed of each cell that has any."""
    return {cell: {int(seed): value for seed, value in found["error"]["values"].items()}
            for cell, found in each["cells"].items() if found["error"]}  # fmt: skip


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(found["mean"], found["low"], found["high"], found["count"])


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """Ratios of GRU to LSTM; errors on each set of data; how the networks learned."""
    ratios = {**findings["ratios"], "time": findings["costs"]}
    drawn = {f"GRU over LSTM: {title}": _over(found, title) for quantity, title in _RATIOS.items()
             if (found := pair(ratios[quantity], GRU, LSTM))}  # fmt: skip
    drawn |= {f"Error: {each['data']}": _errors(each) for each in findings["sets"] if _values(each)}
    return drawn | {"How they learned": _learning(findings["sets"])}


def _over(ratios: Rows, title: str) -> Figure:
    rows = [(ratio["data"], ratio["mean"], ratio["low"], ratio["high"], ()) for ratio in ratios]
    svg = plots.interval_chart(rows, xlabel="GRU over LSTM; below 1: less", reference=(1.0, "equal"))
    over = "median over turns" if title == _RATIOS["time"] else "geometric mean over seeds"
    return Figure(svg, f"{title.capitalize()} of the GRU over that of the LSTM: {over}, with its 95 % interval.",
                  f"{title.capitalize()}, GRU over LSTM, on each set of data")  # fmt: skip


def _errors(each: Set) -> Figure:
    rows: list[tuple[str, Any, Any, Any, Any]] = []
    for cell, found in ((cell, found["error"]) for cell, found in each["cells"].items() if found["error"]):
        rows.append((called(cell), found["mean"], found["low"], found["high"], list(found["values"].values())))
    most = _FAR * max(row[1] for row in rows)
    near = {name: error for name, error in each["baselines"].items() if error <= most}
    rows += [(name, error, None, None, ()) for name, error in sorted(near.items(), key=lambda item: item[1])]
    far = listed([f"{name} {number(error)}" for name, error in each["baselines"].items() if error > most])
    text = "A dot for each seed, the mean and its 95 % interval; baselines have one value."
    left_out = f" Not drawn, for they would flatten the rest: {far}." if far else ""
    svg = plots.interval_chart(rows, xlabel=f"test {each['metric']}{_unit(each)}")
    return Figure(svg, text + left_out, f"Test error of cells and baselines on {each['data']}")


def _learning(sets: Sequence[Set]) -> Figure:
    parts = [plots.Panel(list(_lines(each)), each["data"], "optimizer steps", "validation loss", log_y=True)
             for each in sets]  # fmt: skip
    text = "Median over seeds, with the range from the least to the greatest. Dashed: the level."
    return Figure(plots.panels(parts), text, "Validation loss by optimizer step on each set of data")


def _lines(each: Set) -> Iterator[plots.Line]:
    steps: list[float] = []
    for cell, found in each["cells"].items():
        curve = found["curve"]
        steps = max(steps, curve["steps"], key=len)
        yield plots.Line(called(cell), curve["steps"], curve["median"], curve["low"], curve["high"])
    yield plots.Line("level", steps, [each["level"]] * len(steps), style="dashed", colour="grey")


def _unit(each: Set) -> str:
    return f", {each['unit']}" if each["unit"] else ""


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every cell and baseline; the reset gate in either place."""
    columns = ["data", "", "parameters (units)", "test error", "rate", "steps to level", "step, ms", "memory, MB",
               "training"]  # fmt: skip
    rows = [row for each in findings["sets"] for row in _rows(each)]
    caption = (
        "Mean over seeds with its 95 % interval. In brackets after the steps: seeds that got to the level. A step: "
        "forward, backward, update. Memory: of a forward and a backward pass of the layer. Training: the whole of it, "
        "beside whatever else the machine did."
    )
    if any(BEFORE in each["cells"] for each in findings["sets"]):
        caption += f" The {CELLS[BEFORE].title} has no fast code here: its times are not the cell's fault."
    drawn = {"Every cell and baseline": Table(columns, rows, caption)}
    return drawn | ({"The reset gate in the other place": _moved(findings)} if findings["swapped"] else {})


def _rows(each: Set) -> Iterator[list[str]]:
    for cell, found in each["cells"].items():
        step = found.get("step_ms")
        yield [
            each["data"],
            called(cell),
            f"{found['parameters']:,} ({found['hidden_size']})",
            f"{each['metric']} {_amount(found['error'])}",
            f"{found['learning_rate']:g}",
            f"{number(found['steps']['mean'], 3)} ({found['reached']}/{found['finished']})",
            _amount(step, 3),
            number(found.get("memory_mb"), 3),
            duration(found["train_seconds"]),
        ]
    for name, error in sorted(each["baselines"].items(), key=lambda item: item[1]):
        yield [each["data"], name, "", f"{each['metric']} {number(error)}", "", "", "", "", ""]


def _moved(findings: Mapping[str, Any]) -> Table:
    errors = {(each["data"], cell): found["error"] for each in findings["sets"]
              for cell, found in each["cells"].items()}  # fmt: skip
    rows = [[ratio["data"], called(ratio["a"]), _amount(errors[ratio["data"], ratio["a"]]), _amount(ratio["error"]),
             _amount(ratio, 3)] for ratio in findings["swapped"]]  # fmt: skip
    caption = "The same weights, run with the reset gate before the multiplication instead of after it, or after it."
    return Table(["data", "trained as", "error", "error when moved", "moved over own"], rows, caption)


def _amount(found: Mapping[str, Any] | None, digits: int = 4) -> str:
    return "–" if found is None else amount(_estimate(found), digits=digits)
