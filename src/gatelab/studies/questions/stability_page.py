"""What the study of stability says and lists, from its findings alone; ``stability_figures`` has the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.questions import stability_figures
from gatelab.studies.questions.stability_findings import REFERENCE
from gatelab.studies.questions.stability_names import NAMES, clipped, entry_name, percent, share, start
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

Row = Mapping[str, Any]


def label(condition: Row) -> str:
    """Problem, cell, and all that can be set."""
    parts = [condition["source"], called(condition["cell"]), NAMES[condition["optimizer"]]]
    parts += [f"rate {condition['learning_rate']:g}"] if condition["learning_rate"] and not _timed(condition) else []
    parts += [clipped(condition["clip_norm"])]
    parts += [start(condition["init"])] if condition["init"] != "torch" else []
    parts += [f"batches of {condition['batch_size']}"] if condition["batch_size"] not in (32, None) else []
    return ", ".join([*parts, *(["equal time"] if _timed(condition) else [])])


def _timed(condition: Row) -> bool:
    return condition["max_seconds"] is not None


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Row) -> list[str]:
    """What diverges, what clipping does to that, who learns fastest, what start, batch and optimizer change."""
    said = [
        *_headline(findings["divergence"]),
        *_clipping(findings["clipping"]),
        *_cells(findings["cells"]),
        *(_speed(speed) for speed in findings["speed"]),
        *_varied(findings["starts"], "init", "Start"),
        *_varied(findings["batches"], "batch_size", "Batches"),
        *(_race(race) for race in findings["optimizers"]),
        *_clipping_in_races(findings["optimizers"]),
    ]
    runs = max((len(curves["losses"]) for curves in findings["curves"]), default=0)
    few = [] if runs >= 3 else ["With fewer than three runs of each kind no test can tell much: it may be luck."]
    return [*(said or ["No map and no race finished, so nothing can be said."]), *few]


def _headline(rows: Sequence[Row]) -> list[str]:
    """Plain SGD, not clipped and clipped: a sentence for each problem."""
    said = []
    for source in dict.fromkeys(row["source"] for row in rows):
        mine = [row for row in rows if row["source"] == source and row["optimizer"] == "sgd"]
        free, held = ([row for row in mine if row["clip"] == clip] for clip in ("none", "1"))
        parts = [f"Over a wide range of learning rates plain SGD diverges on {source} in {_by_cell(free)} of its runs"]
        parts += [f"with the gradient clipped at norm 1 in {_by_cell(held)}"] if held else []
        said += [f"{', '.join(parts)}."] if free else []
    return said


def _by_cell(rows: Sequence[Row]) -> str:
    return listed([f"{percent(row['diverged']['mean'])} ({called(row['cell'])})" for row in rows])


def _clipping(gaps: Sequence[Row]) -> list[str]:
    """``units`` is the rate without clipping less that with it."""
    what = {True: "lowers", False: "raises"}
    said = [
        f"it {what[lowers]} the rate of divergence of " + listed([f"{_which(gap)} by {_points(gap)}" for gap in sure])
        for lowers in (True, False)
        if (sure := [gap for gap in gaps if gap["found"] and (gap["units"]["mean"] > 0) == lowers])
    ]
    return _with_rest("Clipping at norm 1", said, gaps)


def _with_rest(about: str, said: Sequence[str], gaps: Sequence[Row]) -> list[str]:
    """What was found, and in how many comparisons nothing was."""
    rest = sum(not gap["found"] for gap in gaps)
    more = [f"no difference found in {rest} of {len(gaps)} comparisons"] if rest else []
    return [f"{about}: {'; '.join([*said, *more])}."] if gaps else []


def _which(gap: Row) -> str:
    return f"the {called(gap['cell'])} on {gap['source']} with {NAMES[gap['optimizer']]}"


def _points(gap: Row) -> str:
    """A difference of two rates in percentage points, without its sign."""
    sign = 1 if gap["units"]["mean"] >= 0 else -1
    return amount(Estimate(**gap["units"]).scaled(100 * sign), "points", 2)


def _cells(gaps: Sequence[Row]) -> list[str]:
    said = []
    for gap in (gap for gap in gaps if gap["found"]):
        more, less = (gap["a"], gap["b"]) if gap["units"]["mean"] > 0 else (gap["b"], gap["a"])
        beside = f"the {called(more)} more often than the {called(less)}"
        said.append(f"{beside} on {gap['source']} with {NAMES[gap['optimizer']]}, by {_points(gap)}")
    return _with_rest("Divergence without clipping, cells beside each other", said, gaps)


def _speed(speed: Row) -> str:
    cells = speed["cells"]
    times = [f"{called(cell)} {found['median']:,}" if found["median"] is not None
             else f"{called(cell)} not within {speed['last']:,} ({_there(found)})"
             for cell, found in cells.items()]  # fmt: skip
    gaps = []
    for gap in speed["beside"]:
        a, b = gap["a"], gap["b"]
        if gap["found"]:
            sooner, later = (a, b) if _typical(cells[a], speed) < _typical(cells[b], speed) else (b, a)
            gaps.append(f"{called(sooner)} sooner than {called(later)}")
        else:
            gaps.append(f"no difference found between {called(a)} and {called(b)}")
    beside = f" Log-rank test: {'; '.join(gaps)}." if gaps else ""
    return f"Steps until half of the runs have learned {speed['source']}: {', '.join(times)}.{beside}"


def _there(found: Row) -> str:
    learned = found["learned"]
    return f"{round(learned['mean'] * learned['count'])} of {learned['count']} learned"


def _typical(found: Row, speed: Row) -> float:
    """Mean steps, with twice the steps of training for a run that never learned: what orders two cells."""
    times = [2 * speed["last"] if time is None else time for time in found["times"]]
    return sum(times) / len(times)


def _varied(groups: Sequence[Row], factor: str, word: str) -> list[str]:
    """Which values of a factor are surely better or worse than the usual one."""
    better, worse, tested = [], [], []
    for group in groups:
        for gap in (gap for gap in group["gaps"] if gap["p"] is not None):
            tested.append(gap)
            name = start(gap["a"]) if factor == "init" else gap["a"]
            text = f"{name} ({called(group['cell'])}, {group['source']})"
            if gap["found"]:
                (better if gap["units"]["mean"] < 0 else worse).append(text)
    usual = "torch's start" if factor == "init" else "32"
    said = [f"{how} than {usual}: {listed(which)}" for how, which in (("better", better), ("worse", worse)) if which]
    return _with_rest(f"{word}, after equal steps", said, tested)


def _race(race: Row) -> str:
    """Losses are logarithms, so that a difference below zero is a loss that fell further."""
    entries = {key: entry for key, entry in race["entries"].items() if entry["tested"]}
    where = f"On {race['source']} with the {called(race['cell'])}, in {number(race['limit'])} s"
    if not entries:
        return f"{where} no optimizer reached anything."
    best = min(entries, key=lambda key: entries[key]["tested"]["mean"])
    said = [f"{entry_name(best)} gets furthest, to {_reached(entries[best])} of chance"]
    tested = [gap for gap in race["beside"] if gap["p"] is not None]
    sides = {
        "further": [gap["a"] for gap in tested if gap["found"] and gap["units"]["mean"] < 0],
        "less far": [gap["a"] for gap in tested if gap["found"] and gap["units"]["mean"] > 0],
        "no difference found": [gap["a"] for gap in tested if not gap["found"]],
    }
    beside = [f"{how}: {listed([entry_name(key) for key in keys])}" for how, keys in sides.items() if keys]
    said += [f"beside {entry_name(REFERENCE)} ({_reached(entries[REFERENCE])}) {'; '.join(beside)}"] if beside else []
    return f"{where} {'; '.join(said)}."


def _reached(entry: Row) -> str:
    return percent(10 ** entry["tested"]["mean"])


def _clipping_in_races(races: Sequence[Row]) -> list[str]:
    """``a`` is not clipped and ``b`` is; their difference is above zero where clipping helps."""
    pairs = [(race, gap) for race in races for gap in race["clipping"] if gap["p"] is not None]
    said = [
        f"it {'helps' if gap['units']['mean'] > 0 else 'harms'} {NAMES[gap['a'].split('/')[0]]} "
        f"({called(race['cell'])}, {race['source']})"
        for race, gap in pairs
        if gap["found"]
    ]
    return _with_rest("Clipping where the learning rate was chosen with it", said, [gap for _, gap in pairs])


# ---- pictures and tables -----------------------------------------------------------------------------------------


def figures(findings: Row) -> dict[str, Figure]:
    """Maps, rates, shares that learned, curves, starts, batch sizes, races."""
    return stability_figures.figures(findings)


def tables(findings: Row) -> dict[str, Table]:
    """Divergence; steps to learn; starts and batch sizes; optimizers."""
    shown = {
        "Every map": _divergences(findings["divergence"]),
        "Every cell": _speeds(findings["speed"]),
        "Every start": _values(findings["starts"], "init", "start"),
        "Every batch size": _values(findings["batches"], "batch_size", "batches of"),
        "Every optimizer": _entries(findings["optimizers"]),
    }
    return {name: table for name, table in shown.items() if table.rows}


def _divergences(rows: Sequence[Row]) -> Table:
    cells = [[row["source"], NAMES[row["optimizer"]], called(row["cell"]), clipped(row["clip"]),
              row["diverged"]["count"], share(row["diverged"]), share(row["learned"])] for row in rows]  # fmt: skip
    return Table(["problem", "optimizer", "cell", "gradient", "runs", "diverged", "had learned"], cells,
                 "All learning rates and runs together, with Wilson's 95 % intervals.")  # fmt: skip


def _speeds(speeds: Sequence[Row]) -> Table:
    rows = [[speed["source"], called(cell), ", ".join(f"{rate:g}" for rate in found["rates"]),
             found["median"] if found["median"] is not None else f"more than {speed['last']:,}",
             found["learned"]["count"], share(found["learned"])]
            for speed in speeds for cell, found in speed["cells"].items()]  # fmt: skip
    caption = (
        "Adam, clipped at norm 1, at the learning rates that were best for the other runs. Learned: by the last step, "
        "with Wilson's 95 % interval."
    )
    return Table(
        ["problem", "cell", "learning rates", "steps until half had learned", "runs", "learned"], rows, caption
    )


def _values(groups: Sequence[Row], factor: str, column: str) -> Table:
    rows = [[group["source"], called(group["cell"]), start(value[factor]) if factor == "init" else str(value[factor]),
             _shares(value["fallen"]), number(value["spread"], 2), f"{value['learned']} of {value['runs']}",
             f"{value['diverged']} of {value['runs']}"]
            for group in groups for value in group["values"]]  # fmt: skip
    caption = (
        "Loss at the end in shares of chance: geometric mean over runs with its 95 % interval. Spread: standard "
        "deviation of its log10 over runs."
    )
    return Table(["problem", "cell", column, "loss", "spread", "learned", "diverged"], rows, caption)


def _entries(races: Sequence[Row]) -> Table:
    rows = [[race["source"], called(race["cell"]), entry_name(key), _chosen(entry), _shares(entry["tested"]),
             number(entry["steps"]), f"{entry['diverged']} of {entry['runs']}"]
            for race in races for key, entry in race["entries"].items()]  # fmt: skip
    caption = (
        "Test loss of the best weights, in shares of chance: geometric mean over runs with its 95 % interval. Steps: "
        "median; one of L-BFGS is twenty rounds, one of Hessian-free optimization up to fifty."
    )
    return Table(["problem", "cell", "optimizer", "chosen", "test loss", "steps", "diverged"], rows, caption)


def _chosen(entry: Row) -> str:
    by_batch = entry["optimizer"] in ("lbfgs", "hessian_free")
    return f"batches of {entry['batch_size']}" if by_batch else f"rate {entry['learning_rate']:g}"


def _shares(found: Row | None) -> str:
    """A logarithm and its interval as shares of chance; the interval of a loss that is at most chance ends there."""
    if found is None:
        return "–"
    low, high = (None if found[end] is None else min(10 ** found[end], 1.0) for end in ("low", "high"))
    return amount(Estimate(10 ** found["mean"], low, high, found["count"]), digits=2)
