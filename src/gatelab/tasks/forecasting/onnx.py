"""A forecasting model as one ONNX graph, from numbers in the user's units to forecasts in the user's units.

Everything between is inside: scales, bounds, gaps, flags of what was observed, the calendar, the window's own level,
the network, the order of the quantiles. The scales are in float64, as in ``features``; the network is in float32.

Steps without data are left out of what the encoder reads (``nn.masking``): the observed steps move to the front, and
their number is the node's ``sequence_lens``, so that its final state is that after the last observed step, and
backwards that after the first.

B batch, L lookback, K horizon, O targets, Q quantile levels, R values of a forecast (Q, and 1 more with a mean),
P past channels, F channels known ahead, I encoder inputs, C columns, H hidden, D directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from gatelab.nn.onnx import Export, Graph, ends, frozen, layers_of, recurrent, require_known
from gatelab.tasks.forecasting.features import CYCLE_START, CYCLES
from gatelab.tasks.forecasting.model import ForecastNet
from gatelab.tasks.forecasting.onnx_samples import needs_series, samples
from gatelab.tasks.forecasting.scaling import ROUNDING
from gatelab.tasks.forecasting.windows import SMALLEST_DEVIATION

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.public_holidays import Holidays
    from gatelab.tasks.forecasting.task import Forecasting


def export(task: Forecasting, model: ForecastNet) -> Export:
    """``model`` as a graph, with random windows that prove it.

    Args:
        task: what it was trained for; needs no data.
        model: the trained network.

    Raises:
        InputError: ONNX has no node for the encoder, or ``onnx`` is not installed.
    """
    require_known(model.encoder)
    network = frozen(model)
    writer = _Writer(task, network)
    proof, batch = samples(task, network)
    described = {
        "task": task.name,
        "cell": layers_of(network.encoder)[0].cell,
        "targets": task.features.targets,
        "quantiles": list(task.config.quantiles),
        "series": list(task.features.scales),
    }
    return Export(writer.write().model(described), proof, lambda: network(batch))


class _Scale(NamedTuple):
    """Values of what is subtracted from and divided out of some columns, (B or 1, 1, columns) float64."""

    centre: str
    deviation: str


class _Window(NamedTuple):
    """Values of what the network reads, as in ``windows.WindowBatch`` with the batch first."""

    recent: str  # (B, L, O)
    inputs: str  # (B, L, I)
    shown: str  # (B, L) bool
    ahead: str  # (B, K, F)
    centre: str | None  # (B, 1, O), none where it is 0
    deviation: str | None  # (B, 1, O), none where it is 1
    held: str | None  # (B, 1, O) the value of targets that stand still, else NaN; none where all move


class _Writer:
    """Writes the graph in the order in which a forecast is computed."""

    def __init__(self, task: Forecasting, network: ForecastNet):
        self.config, self.features, self.network = task.config, task.features, network
        self.graph = Graph("gatelab_forecasting")
        self.lookback, self.horizon = int(task.config.lookback or 0), int(task.config.horizon or 0)
        self.series = self._series()

    def write(self) -> Graph:
        """The whole graph, from inputs to outputs."""
        window = self._window()
        scaled = self._forecast(window, self._state(window))  # (B, K, O, R)
        self._outputs(scaled, window.held)
        return self.graph

    # ---- inputs -------------------------------------------------------------------------------------------------

    def _series(self) -> str | None:
        """The input that chooses a row of the table of scales, where there are several."""
        if not needs_series(self.features):
            return None
        text = "which series it is, by its place in the list series of the metadata; 0 for one not met in training"
        if self.features.constants:
            text += ", of which the graph does not know whether it ever moves"
        return self.graph.input("series", np.int64, ("batch",), text)

    def _scale(self, role: str) -> _Scale:
        at = self.features.of(role)
        both = np.array(list(self.features.scales.values()), np.float64)[:, :, None, at]  # (S, 2, 1, columns)
        if self.series is None:
            both = both[:1]
        tables = (self.graph.constant(both[:, part]) for part in (0, 1))  # (S, 1, columns) each
        if self.series is None:
            return _Scale(*tables)
        return _Scale(*(self.graph.node("Gather", table, self.series, axis=0) for table in tables))

    def _column_input(self, name: str, role: str, steps: int, text: str) -> tuple[str, str]:
        """An input of raw columns, and where it holds a value: (B, steps, columns) float64 and bool."""
        graph, columns = self.graph, [self.features.columns[c] for c in self.features.of(role)]
        levels = [
            f"; {column.name}: " + ", ".join(f"{code} = {word}" for code, word in enumerate(column.levels))
            for column in columns
            if column.kind == "category"
        ]
        listed = ", ".join(column.name for column in columns)
        value = graph.input(
            name, np.float64, ("batch", steps, len(columns)), f"{listed}: {text}, oldest first; NaN where missing"
            + "".join(levels)
        )  # fmt: skip
        return value, graph.node("Not", graph.node("IsNaN", value))

    # ---- from columns to channels: what ``Features.prepare`` does ------------------------------------------------

    def _window(self) -> _Window:
        graph, features, L = self.graph, self.features, self.lookback
        raw, seen = self._column_input("target", "target", L, f"the last {L} steps")
        scaled = self._scaled(raw, seen, self._scale("target"))  # (B, L, O)
        mask = graph.cast(seen, np.float32)  # (B, L, O) 1 where observed
        centre, deviation = self._level(scaled, mask, seen)
        recent = graph.node("Sub", scaled, centre) if centre else scaled
        recent = graph.node("Div", recent, deviation) if deviation else recent
        recent = graph.node("Mul", recent, mask)  # (B, L, O)
        observed, past = [seen], []
        if features.of("past"):
            values, here = self._column_input("past", "past", L, f"the last {L} steps")
            observed.append(here)
            past = self._channels(values, here, "past")
        shown = self._any(graph.node("Concat", *observed, axis=2))  # (B, L)
        known = self._known()  # (B, L + K, F), or nothing
        inputs = [recent, *past, *self._gap_channels(seen, mask)]
        inputs += [graph.slice(known, 0, L, axis=1)] if known else []
        ahead = graph.slice(known, L, L + self.horizon, axis=1) if known else ""
        joined = graph.node("Concat", *inputs, axis=2)  # (B, L, I)
        return _Window(recent, joined, shown, ahead, centre, deviation, self._held(raw))

    def _held(self, raw: str) -> str | None:
        """The value of each target that stands still all through the window: what ``Windows.held`` does."""
        graph, features = self.graph, self.features
        if not features.constants or self.series is None:
            return None
        values = [
            [features.constants.get(id, {}).get(name, np.nan) for name in features.targets] for id in features.scales
        ]
        value = graph.node(
            "Gather", graph.constant(np.array(values)[:, None], np.float64), self.series, axis=0
        )  # (B, 1, O)
        apart = graph.node("Abs", graph.node("Sub", raw, value))  # (B, L, O) NaN where missing or not constant
        reach = graph.node("Mul", graph.node("Abs", value), graph.constant(ROUNDING, np.float64))
        away = graph.node("Greater", apart, graph.node("Max", reach, graph.constant(ROUNDING * 1e-300, np.float64)))
        never = graph.over("ReduceMax", graph.cast(away, np.int32), 1)  # (B, 1, O) 0 where never
        nothing = graph.constant(np.nan, np.float64)
        return graph.node("Where", graph.cast(never, np.bool_), nothing, value)

    def _scaled(self, values: str, here: str, scale: _Scale) -> str:
        """Values in training deviations, 0 in gaps, float32."""
        graph = self.graph
        scaled = graph.node("Div", graph.node("Sub", values, scale.centre), scale.deviation)
        return graph.cast(graph.node("Where", here, scaled, graph.constant(0.0, np.float64)), np.float32)

    def _channels(self, values: str, here: str, role: str) -> list[str]:
        """The channels of all columns of a role: one-hot for categories; a value, and its flag where it has one."""
        graph, channels = self.graph, []
        scaled, flags = self._bounded(self._scaled(values, here, self._scale(role)), role), graph.cast(here, np.float32)
        for place, c in enumerate(self.features.of(role)):
            column = self.features.columns[c]
            if column.kind == "category":
                codes = graph.constant(self.features.levels[column.name], np.float64)  # (levels,)
                code = graph.slice(values, place, place + 1, axis=2)  # (B, steps, 1)
                channels.append(graph.cast(graph.node("Equal", code, codes), np.float32))
                continue
            channels.append(graph.slice(scaled, place, place + 1, axis=2))
            if column.name in self.features.gappy:
                channels.append(graph.slice(flags, place, place + 1, axis=2))
        return channels

    def _bounded(self, scaled: str, role: str) -> str:
        """Covariates (B, steps, columns) held to what a model can have learned of."""
        graph, limits = self.graph, self.features.limits
        names = [self.features.columns[c].name for c in self.features.of(role)]
        if not set(names) & set(limits):
            return scaled
        both = np.array([limits.get(name, (-np.inf, np.inf)) for name in names], np.float32)  # (columns, 2)
        return graph.node("Min", graph.node("Max", scaled, graph.constant(both[:, 0])), graph.constant(both[:, 1]))

    def _gap_channels(self, seen: str, mask: str) -> list[str]:
        """Which targets were observed, and log(1 + n) of the n steps since any was; only where targets had gaps."""
        graph, L = self.graph, self.lookback
        gappy = [place for place, name in enumerate(self.features.targets) if name in self.features.gappy]
        if not gappy:
            return []
        flags = graph.node("Gather", mask, graph.constant(gappy, np.int64), axis=2)
        text = "steps without any target just before the window; 0 where the step before it was observed"
        gap = graph.reshape(graph.cast(graph.input("gap", np.int64, ("batch",), text), np.float32), -1, 1)  # (B, 1)
        steps = graph.constant(np.arange(L), np.float32)  # (L,)
        before = graph.node("Sub", graph.constant(-1.0, np.float32), gap)  # (B, 1) the step last observed before
        at = graph.node("Where", self._any(seen), steps, before)  # (B, L)
        # A running maximum is a maximum over a window that reaches back to the start.
        last = graph.node("MaxPool", graph.reshape(at, 0, 1, L), kernel_shape=[L], pads=[L - 1, 0])  # (B, 1, L)
        since = graph.cast(graph.node("Sub", steps, graph.reshape(last, 0, L)), np.float64)  # (B, L)
        since = graph.node("Log", graph.node("Add", since, graph.constant(1.0, np.float64)))
        return [flags, graph.reshape(graph.cast(since, np.float32), 0, L, 1)]

    def _known(self) -> str:
        """Channels known ahead, of the window and the horizon (B, L + K, F); "" where there are none."""
        steps, channels = self.lookback + self.horizon, []
        if self.features.of("future"):
            text = f"the last {self.lookback} steps and the {self.horizon} to forecast"
            channels += self._channels(*self._column_input("known", "future", steps, text), "future")
        channels += self._calendar(steps)
        return self.graph.node("Concat", *channels, axis=2) if channels else ""

    def _calendar(self, steps: int) -> list[str]:
        """Cycles and holidays (B, L + K, ·), from an input of stamps."""
        graph, feasts = self.graph, self.features.holidays
        if not (self.features.calendar or feasts):
            return []
        clock = f"the clock of {self.features.zone}" if self.features.zone else "the clock of the table"
        text = f"seconds from 1970-01-01 00:00 on {clock}, of the {self.lookback} steps and the {self.horizon} ahead"
        if feasts:
            text += f"; the graph knows the holidays of {feasts.place} from {feasts.years[0]} to {feasts.years[1]}"
        stamps = graph.reshape(graph.input("time", np.int64, ("batch", steps), text), 0, steps, 1)  # (B, L + K, 1)
        seconds = graph.cast(stamps, np.float64)
        found = [self._cycles(seconds, steps)] if self.features.calendar else []
        return found + ([self._holidays(seconds, feasts)] if feasts else [])

    def _cycles(self, seconds: str, steps: int) -> str:
        """Sine and cosine of each cycle (B, L + K, 2·cycles)."""
        graph = self.graph
        seconds = graph.node("Add", seconds, graph.constant(CYCLE_START, np.float64))
        turns = graph.constant([2 * np.pi / CYCLES[cycle] for cycle in self.features.calendar], np.float64)
        angle = graph.node("Mul", seconds, turns)  # (B, L + K, cycles)
        waves = [graph.reshape(graph.node(wave, angle), 0, steps, -1, 1) for wave in ("Sin", "Cos")]
        both = graph.node("Concat", *waves, axis=3)  # (B, L + K, cycles, 2): sine, cosine of each cycle in turn
        return graph.cast(graph.reshape(both, 0, steps, 2 * len(self.features.calendar)), np.float32)

    def _holidays(self, seconds: str, feasts: Holidays) -> str:
        """How many holidays lie in each span of days after a stamp (B, L + K, spans)."""
        graph, known = self.graph, np.array(feasts.days, np.float64)  # (H,)
        day = graph.node("Floor", graph.node("Div", seconds, graph.constant(86_400.0, np.float64)))  # (B, L + K, 1)
        counts = []
        for _, start, end in feasts.spans:
            begun = graph.node("LessOrEqual", day, graph.constant(known - start))  # (B, L + K, H)
            lasts = graph.node("GreaterOrEqual", day, graph.constant(known - end))
            inside = graph.cast(graph.node("And", begun, lasts), np.float32)
            counts.append(graph.over("ReduceSum", inside, 2))  # (B, L + K, 1)
        return graph.node("Concat", *counts, axis=2)

    def _any(self, flags: str) -> str:
        """Whether any of the last axis holds: (B, L) of (B, L, ·)."""
        graph = self.graph
        largest = graph.over("ReduceMax", graph.cast(flags, np.int32), 2, keepdims=False)
        return graph.cast(largest, np.bool_)

    def _level(self, scaled: str, mask: str, seen: str) -> tuple[str | None, str | None]:
        """Centre and deviation of each window, (B, 1, O): what ``windows.window_scale`` does."""
        graph, normalise = self.graph, self.config.normalise
        if normalise == "none":
            return None, None
        if normalise == "last":
            places = graph.constant(np.arange(self.lookback)[None, :, None], np.int64)  # (1, L, 1)
            at = graph.over("ReduceMax", graph.node("Mul", places, graph.cast(seen, np.int64)), 1)  # (B, 1, O)
            return graph.node("GatherElements", scaled, at, axis=1), None  # 0, the value of a gap, where all are gaps
        count = graph.node("Max", graph.over("ReduceSum", mask, 1), graph.constant(1.0, np.float32))  # (B, 1, O)
        mean = graph.node("Div", graph.over("ReduceSum", scaled, 1), count)  # (B, 1, O)
        if normalise == "mean":
            return mean, None
        away = graph.node("Mul", graph.node("Sub", scaled, mean), mask)  # (B, L, O)
        squares = graph.over("ReduceSum", graph.node("Mul", away, away), 1)  # (B, 1, O)
        deviation = graph.node("Sqrt", graph.node("Div", squares, count))  # (B, 1, O)
        return mean, graph.node("Max", deviation, graph.constant(SMALLEST_DEVIATION, np.float32))

    # ---- the network: what ``ForecastNet.forward`` does ----------------------------------------------------------

    def _state(self, window: _Window) -> str:
        """The encoder's state after the last observed step (B, D·H)."""
        graph, L, encoder = self.graph, self.lookback, self.network.encoder
        steps = np.arange(L)[None]  # (1, L)
        keys = [graph.constant(values, np.float32) for values in (2 * L - steps, L - steps)]  # observed steps first
        key = graph.node("Where", window.shown, *keys)  # (B, L)
        _, order = graph.nodes("TopK", key, graph.constant([L], np.int64), outputs=2, axis=1)  # (B, L)
        place = graph.node("Expand", graph.reshape(order, 0, L, 1), graph.node("Shape", window.inputs))  # (B, L, I)
        moved = graph.node("GatherElements", window.inputs, place, axis=1)  # (B, L, I)
        count = graph.over("ReduceSum", graph.cast(window.shown, np.int32), 1, keepdims=False)  # (B,)
        x = graph.node("Transpose", moved, perm=[1, 0, 2])  # (L, B, I)
        output, (final, *_) = recurrent(graph, encoder, x, count, None)
        return ends(graph, encoder, output, final, count)

    def _forecast(self, window: _Window, state: str) -> str:
        """The forecast in training deviations, (B, K, O, R)."""
        graph, network = self.graph, self.network
        K, O = self.horizon, network.targets  # noqa: E741  the design's alphabet
        out = graph.reshape(graph.linear(state, network.head), -1, K, O, network.quantiles + network.has_mean)
        if hasattr(network, "local"):
            joined = self._local(window, state)  # (B·K, O·R)
            out = graph.node("Add", out, graph.reshape(joined, -1, K, O, network.quantiles + network.has_mean))
        if hasattr(network, "highway"):
            rows = graph.reshape(window.recent, 0, self.lookback * O)  # (B, L·O)
            out = graph.node("Add", out, graph.reshape(graph.linear(rows, network.highway), -1, K, O, 1))
        if window.deviation:
            out = graph.node("Mul", out, graph.reshape(window.deviation, 0, 1, O, 1))
        return graph.node("Add", out, graph.reshape(window.centre, 0, 1, O, 1)) if window.centre else out

    def _local(self, window: _Window, state: str) -> str:
        graph, ahead = self.graph, len(self.features.known_channels)  # F
        first, _, second = self.network.local
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        context = graph.reshape(graph.linear(state, self.network.context), -1, first.in_features - ahead)  # (B·K, ·)
        joined = graph.node("Concat", context, graph.reshape(window.ahead, -1, ahead), axis=1)  # (B·K, · + F)
        return graph.linear(graph.node("Relu", graph.linear(joined, first)), second)

    # ---- back to the user's units: what ``Forecasting.forecast`` does --------------------------------------------

    def _outputs(self, scaled: str, held: str | None) -> None:
        graph, levels, K, names = self.graph, self.config.quantiles, self.horizon, ", ".join(self.features.targets)
        Q, O = len(levels), len(self.features.targets)  # noqa: E741
        scale = self._scale("target")
        crossing = graph.slice(scaled, 0, Q, axis=3)  # (B, K, O, Q)
        rising, _ = graph.nodes("TopK", crossing, graph.constant([Q], np.int64), outputs=2, axis=3, largest=0)
        middle = Q if self.network.has_mean else levels.index(0.5)
        point = graph.slice(scaled if self.network.has_mean else rising, middle, middle + 1, axis=3)  # (B, K, O, 1)
        point = self._unscaled(graph.reshape(point, 0, K, O), scale.centre, scale.deviation)
        point = self._hold(point, held) if held else point
        wide = _Scale(*(graph.reshape(part, 0, 1, O, 1) for part in scale))
        text = f"{names}: {self.config.point} of each of the {K} steps ahead"
        graph.output(point, "forecast", np.float64, ("batch", K, O), text)
        listed = ", ".join(f"{level:g}" for level in levels)
        quantiles = self._unscaled(rising, wide.centre, wide.deviation)
        quantiles = self._hold(quantiles, graph.reshape(held, 0, 1, O, 1)) if held else quantiles
        graph.output(quantiles, "quantiles", np.float64, ("batch", K, O, Q), f"{names}: quantiles {listed}")

    def _hold(self, values: str, held: str) -> str:
        return self.graph.node("Where", self.graph.node("IsNaN", held), values, held)

    def _unscaled(self, scaled: str, centre: str, deviation: str) -> str:
        graph = self.graph
        free = graph.node("Add", graph.node("Mul", graph.cast(scaled, np.float64), deviation), centre)
        return graph.node("Max", free, graph.constant(0.0, np.float64)) if self.config.positive else free
