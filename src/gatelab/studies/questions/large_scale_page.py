"""What the study of large scale shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

PARTS = {
    "learned": "Learned",
    "bias": "Bias",
    "cost": "Memory by window",
    "disk": "Series on disk",
    "norm": "Digits",
    "norm_cost": "Cost of norms",
    "precision": "Precision",
    "processes": "Processes",
}
_FLAT = 0.25
"""Memory that grows by less than this share of what the file grows by is called flat."""
_LEAST = 1e-3
"""What is not worth drawing of a share of variance."""
_FREE = 0.1
"""A machine on which other programs keep less than this of a core busy is called free."""
_MISSED = "share of variance missed"
_READINGS = {"pieces": "in pieces", "map": "one mapping", "memory": "read into memory"}
Rows = Sequence[Mapping[str, Any]]


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """Part by part, as far as there is something to say."""
    said = [sentence for part, say in _SAYS.items() if part in findings for sentence in say(findings[part])]
    return said or ["Not one part of the study has a finding."]


def _said_of_windows(found: Mapping[str, Any]) -> list[str]:
    """How long a window must be for what is to be remembered."""
    said = []
    for time in found["reach"]:
        cells: dict[int | None, list[str]] = {}
        for each in found["enough"]:
            if str(each["time"]) == time:
                cells.setdefault(each["window"], []).append(called(each["cell"]))
        least = sorted(cells, key=lambda window: (window is None, window))
        texts = [f"{window or 'none of these'} in {listed(cells[window])}" for window in least]
        said.append(f"time constant {time}: {listed(texts)}")
    few = any(share["low"] is None for share in found["shares"])
    doubt = ["With one seed no interval can be given: what is said may be luck."] if few else []
    lead = "The least window with which nine tenths of a running mean are learned, on average over seeds, is"
    return [f"{lead}, {'; '.join(said)}.", *doubt]


def _said_of_bias(found: Mapping[str, Any]) -> list[str]:
    shortest = min(each["window"] for each in found["gradients"])
    longest = max(each["window"] for each in found["gradients"])
    said = []
    for moment, words in (("start", "before training"), ("end", "after it")):
        errors = {(each["cell"], each["window"]): each["error"] for each in found["gradients"]
                  if each["moment"] == moment and each["error"]}  # fmt: skip
        ends = [f"{called(cell)} {_percent(errors[cell, shortest])} and {_percent(errors[cell, longest])}"
                for cell in dict.fromkeys(cell for cell, _ in errors)
                if {(cell, shortest), (cell, longest)} <= errors.keys()]  # fmt: skip
        said += [f"{words} {listed(ends)}"] if ends else []
    lead = f"Windows of {shortest} and of {longest} steps put the gradient off the full one by"
    return [f"{lead}, {'; '.join(said)}."] if said else []


def _percent(error: Mapping[str, Any]) -> str:
    return amount(_estimate(error).scaled(100), "%", 2)


def _said_of_cost(found: Mapping[str, Any]) -> list[str]:
    first, last = found["passes"][0], found["passes"][-1]
    return [
        f"Full backpropagation over {found['stretch']:,} steps takes {number(last['added_mb'], 3)} MB, a window of "
        f"{first['window']} {number(first['added_mb'], 3)} MB, of which {number(found['data_mb'], 2)} MB are data; "
        f"a step takes {number(last['step_us'], 3)} and {number(first['step_us'], 3)} µs."
    ]


def _said_of_disk(found: Mapping[str, Any]) -> list[str]:
    in_order = sorted(found["passes"], key=lambda each: each["length"])
    file = in_order[-1]["file_mb"] - in_order[0]["file_mb"]
    said = []
    for reading, growth in found["growth_mb"].items():
        longest = [each for each in in_order if each["reading"] == reading][-1]
        moves = f"stays flat (it moves by {number(growth, 2)} MB)"
        fate = moves if growth < _FLAT * file else f"grows by {number(growth, 3)} MB"
        said.append(f"{_READINGS[reading]} it {fate}, {number(longest['step_us'], 3)} µs a step")
    steps = f"from {in_order[0]['length']:,} to {in_order[-1]['length']:,} steps"
    return [f"Memory while a series on disk grows {steps}, by {number(file, 3)} MB: {'; '.join(said)}."]


def _said_of_norm(found: Mapping[str, Any]) -> list[str]:
    said = []
    for cell in dict.fromkeys(each["cell"] for each in found["conditions"]):
        rows = [each for each in found["conditions"] if each["cell"] == cell and each["accuracy"]]
        each = ", ".join(f"{_norm_name(row['norm'])} {amount(_estimate(row['accuracy']), digits=3)}" for row in rows)
        gaps = [f"{gap['a']} beats {gap['b']}" if gap["units"]["mean"] > 0 else f"{gap['b']} beats {gap['a']}"
                for gap in found["differences"] if gap["cell"] == cell and gap["found"]]  # fmt: skip
        said.append(f"{called(cell)}: {each} ({'; '.join(map(_plainly, gaps)) or 'no difference found'})")
    epochs = max(len(each["curve"]) for each in found["conditions"])
    return [f"Accuracy on digits read pixel by pixel, after {epochs} epochs, {'; '.join(said)}."] if said else []


def _norm_name(norm: str) -> str:
    return "plain" if norm == "none" else norm


def _plainly(text: str) -> str:
    return text.replace("none", "plain")


def _said_of_norm_cost(found: Mapping[str, Any]) -> list[str]:
    said = [f"{each['norm']} {amount(_estimate(each['times']), digits=2)} in the {called(each['cell'])}"
            for each in found["steps"]]  # fmt: skip
    return [f"A step takes so many times as long as in a plain layer: {listed(said)}."]


def _said_of_precision(found: Mapping[str, Any]) -> list[str]:
    said = []
    for device, instructions in found["instructions"].items():
        rows = [each for each in found["passes"] if each["device"] == device and each["layer"] != "matrix product"]
        pays = [each for each in rows if each["times"]["high"] is not None and each["times"]["high"] < 1]
        times = [each["times"]["mean"] for each in rows]
        verb = "pays nowhere" if not pays else f"pays in {len(pays)} of {len(rows)} cases"
        errors = [each["gradient_error"] for each in rows if each["gradient_error"] is not None]
        said.append(
            f"bfloat16 under autocast {verb} on this {device} (instructions for it: {instructions}): it takes "
            f"{number(min(times), 2)} to {number(max(times), 2)} times as long as float32, and moves the gradient by "
            f"up to {number(100 * max(errors, default=0.0), 2)} %"
        )
    return [f"Precision: {'; '.join(said)}."]


def _said_of_processes(found: Mapping[str, Any]) -> list[str]:
    worst = max(each["gradient_error"] for each in found["passes"])
    rates = [f"{each['size']} units {_percent(each['shared'])} with one batch shared and "
             f"{_percent(each['larger'])} with a batch for each" for each in found["passes"]]  # fmt: skip
    lead = f"{found['processes']} processes have the gradient of one to a relative {number(worst, 2)}"
    return [f"{lead}, and an efficiency of {listed(rates)}{_beside(found)}."]


def _beside(found: Mapping[str, Any]) -> str:
    """What is to be said of a machine that was not free."""
    if found["others"] < _FREE:
        return ""
    return f" (measured while other programs kept {number(found['others'], 2)} of {found['cores']} cores busy)"


_SAYS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "learned": _said_of_windows,
    "bias": _said_of_bias,
    "cost": _said_of_cost,
    "disk": _said_of_disk,
    "norm": _said_of_norm,
    "norm_cost": _said_of_norm_cost,
    "precision": _said_of_precision,
    "processes": _said_of_processes,
}


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(*(found[name] for name in ("mean", "low", "high", "count")))


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """A picture for every part that has findings."""
    drawn = [(_TITLES[part], draw(findings[part])) for part, draw in _DRAWS.items() if part in findings]
    return dict(drawn)


def _windows_figure(found: Mapping[str, Any]) -> Figure:
    """The share missed against the window, a panel for each time constant."""
    parts = []
    for time, reach in found["reach"].items():
        rows = [each for each in found["shares"] if str(each["time"]) == time]
        lines = [_line(called(cell), [row for row in rows if row["cell"] == cell], "window")
                 for cell in dict.fromkeys(row["cell"] for row in rows)]  # fmt: skip
        least = [share if share > _LEAST else float("nan") for share in reach.values()]
        limit = plots.Line("memory of one window", [int(w) for w in reach], least, style="dashed")
        axes = {"log_x": True, "log_y": True}
        parts.append(plots.Panel([*lines, limit], f"Time constant {time}", "window, steps", _MISSED, **axes))
    text = (
        f"After {found['updates']:,} updates; geometric mean with 95 % t-interval over seeds. Dashed, where above "
        f"{_LEAST}: what a perfect memory of the last window alone would miss. Below it, what was learned reaches "
        "farther than any gradient did. At 1 it is as good to say nothing."
    )
    return Figure(plots.panels(parts, 3), text, "Share of variance missed against the window, by time constant")


def _line(name: str, rows: Rows, over: str, value: str | None = None) -> plots.Line:
    """Estimates with their intervals against the entry ``over``."""
    rows = sorted((row for row in rows if value is None or row[value]), key=lambda row: row[over])
    found = [row if value is None else row[value] for row in rows]
    low, high = ([each["mean"] if each[end] is None else each[end] for each in found] for end in ("low", "high"))
    return plots.Line(name, [row[over] for row in rows], [each["mean"] for each in found], low, high)


def _bias_figure(found: Mapping[str, Any]) -> Figure:
    parts = []
    for moment, title in (("start", "Before training"), ("end", "After training")):
        rows = [each for each in found["gradients"] if each["moment"] == moment]
        lines = [_line(called(cell), [row for row in rows if row["cell"] == cell], "window", "error")
                 for cell in dict.fromkeys(row["cell"] for row in rows)]  # fmt: skip
        parts.append(plots.Panel(lines, title, "window, steps", "relative error", log_x=True, log_y=True))
    text = (
        f"Distance of the truncated gradient from that of full backpropagation over {found['stretch']:,} steps, "
        "relative to its length; median over seeds with 95 % bootstrap interval."
    )
    return Figure(plots.panels(parts), text, "Relative error of the truncated gradient against the window")


def _cost_figure(found: Mapping[str, Any]) -> Figure:
    windows = [each["window"] for each in found["passes"]]
    parts = [
        plots.Panel([plots.Line(called(found["cell"]), windows, [each[name] for each in found["passes"]])], title,
                    "window, steps", unit, log_x=True, log_y=name == "added_mb")
        for name, title, unit in (("added_mb", "Memory", "MB"), ("step_us", "CPU time of a step", "µs"))
    ]  # fmt: skip
    text = (
        f"One pass of training over {found['stretch']:,} steps of {found['streams']} streams; the longest window is "
        f"the whole sequence, which is full backpropagation. Data take {number(found['data_mb'], 2)} MB of the memory."
    )
    return Figure(plots.panels(parts), text, "Memory and time of a step against the window")


def _disk_figure(found: Mapping[str, Any]) -> Figure:
    def line(name: str, rows: Rows, value: str, **more: Any) -> plots.Line:
        return plots.Line(name, [row["length"] for row in rows], [row[value] for row in rows], **more)

    by_reading = {reading: [each for each in found["passes"] if each["reading"] == reading]
                  for reading in found["growth_mb"]}  # fmt: skip
    lines = [line(_READINGS[reading], rows, "added_mb") for reading, rows in by_reading.items()]
    file = line("size of the file", next(iter(by_reading.values())), "file_mb", style="dashed")
    svg = plots.panels([plots.Panel([*lines, file], "", "steps of the series", "MB", log_x=True, log_y=True)], 1)
    text = f"Peak of resident memory over what was there before, one pass with windows of {found['window']} steps."
    return Figure(svg, text, "Memory against the length of a series on disk, by how it is read")


def _norm_figure(found: Mapping[str, Any]) -> Figure:
    parts = []
    for cell in dict.fromkeys(each["cell"] for each in found["conditions"]):
        lines = []
        for row in (each for each in found["conditions"] if each["cell"] == cell):
            epochs = [{"epoch": at, **each} for at, each in enumerate(row["curve"], start=1)]
            lines.append(_line(_norm_name(row["norm"]), epochs, "epoch"))
        parts.append(plots.Panel(lines, called(cell), "epoch", "validation loss", log_y=True))
    text = "Digits, pixel by pixel. Mean with 95 % t-interval over seeds, each at the learning rate chosen for it."
    return Figure(plots.panels(parts, len(parts)), text, "Validation loss by epoch, cell and normalisation")


def _norm_cost_figure(found: Mapping[str, Any]) -> Figure:
    rows = [(f"{called(each['cell'])}, {each['norm']}", *(each["times"][end] for end in ("mean", "low", "high")))
            for each in found["steps"]]  # fmt: skip
    svg = plots.bar_chart(rows, xlabel="time of a step / a plain layer's", reference=(1.0, "plain"))
    text = "A step of training on digits, by turns on one thread; median over rounds with 95 % bootstrap interval."
    return Figure(svg, text, "Time of a step with layer norm and batch norm, relative to a plain layer")


def _precision_figure(found: Mapping[str, Any]) -> Figure:
    rows = []
    for each in found["passes"]:
        name = "" if each["layer"] == "matrix product" else f"{called(each['cell'])} {each['size']}, "
        place = "" if each["device"] == "cpu" else f" on {each['device']}"
        rows.append((f"{name}{each['layer']}{place}", *(each["times"][end] for end in ("mean", "low", "high"))))
    svg = plots.bar_chart(_once(rows), xlabel="time of bfloat16 / time of float32", reference=(1.0, "no gain"))
    text = "Below 1 the lower precision pays. Median over rounds with 95 % bootstrap interval."
    return Figure(svg, text, "Time of bfloat16 under autocast over that of float32")


def _once(rows: Iterable[tuple]) -> list[tuple]:
    """Of rows with one name the first: the product of two matrices is timed beside every cell."""
    return list({row[0]: row for row in reversed(list(rows))}.values())[::-1]


def _processes_figure(found: Mapping[str, Any]) -> Figure:
    names = {"shared": "one batch shared", "larger": "a batch for each"}
    rows = [(f"{each['size']} units, {name}", *(each[key][end] for end in ("mean", "low", "high")))
            for each in found["passes"] for key, name in names.items()]  # fmt: skip
    svg = plots.bar_chart(rows, xlabel=f"efficiency of {found['processes']} processes", reference=(1.0, "ideal"))
    text = (
        f"{called(found['cell'])}, a batch of {found['batch_size']}; median over epochs with 95 % bootstrap "
        f"interval. Meanwhile other programs kept {number(found['others'], 2)} of {found['cores']} cores busy."
    )
    return Figure(svg, text, "Efficiency of several processes beside one")


_DRAWS: Mapping[str, Callable[[Mapping[str, Any]], Figure]] = {
    "learned": _windows_figure,
    "bias": _bias_figure,
    "cost": _cost_figure,
    "disk": _disk_figure,
    "norm": _norm_figure,
    "norm_cost": _norm_cost_figure,
    "precision": _precision_figure,
    "processes": _processes_figure,
}
_TITLES = {
    "learned": "What is learned from short windows",
    "bias": "The bias of truncated gradients",
    "cost": "What a window costs",
    "disk": "A series on disk",
    "norm": "Normalisation",
    "norm_cost": "What a normalisation costs",
    "precision": "Low precision",
    "processes": "Several processes",
}


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """What is missed by window, and every time."""
    drawn = {}
    if found := findings.get("learned"):
        drawn["Share of variance missed"] = _missed(found)
    if found := findings.get("norm"):
        rows = [[called(each["cell"]), _norm_name(each["norm"]), number(each["learning_rate"]),
                 amount(_estimate(each["accuracy"]), digits=3) if each["accuracy"] else "–"]
                for each in found["conditions"]]  # fmt: skip
        columns = ["", "normalisation", "learning rate", "accuracy"]
        drawn["Normalisation"] = Table(columns, rows, "Digits; mean over seeds with 95 % t-interval.")
    if found := findings.get("processes"):
        rows = [[str(each["size"]), *(number(each[name], 3) for name in
                 ("alone_ms", "shared_ms", "larger_ms", "gradient_error", "weights_error"))]
                for each in found["passes"]]  # fmt: skip
        columns = ["units", "alone, ms", "batch shared, ms", "a batch each, ms", "gradient, relative error", "weights"]
        drawn["Several processes"] = Table(columns, rows, "Median time of a step; errors beside one process.")
    return drawn


def _missed(found: Mapping[str, Any]) -> Table:
    times = list(found["reach"])
    keys = list(dict.fromkeys((each["cell"], each["window"]) for each in found["shares"]))
    shares = {(each["cell"], each["window"], str(each["time"])): each for each in found["shares"]}
    rows = [[called(cell), str(window), *(amount(_estimate(shares[cell, window, time]), digits=2)
             if (cell, window, time) in shares else "–" for time in times)] for cell, window in keys]  # fmt: skip
    caption = "By time constant; geometric mean over seeds with 95 % t-interval."
    return Table(["", "window", *times], rows, caption)
