"""What every plot holds, and what each one in particular."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import InputError
from gatelab.report import palette
from gatelab.report.plots import (
    Line,
    Panel,
    bar_chart,
    coverage_chart,
    heat_map,
    histogram,
    interval_chart,
    line_chart,
    panels,
    scatter,
)

HOSTILE = "<script>alert(1)</script> & \"q\" 'a' $x^2$ \x00\x07\x1b[31m \u202e \ud800 \ufffe ]]> #0066a6 漢字"
STEPS = np.arange(20)
WAVE = np.sin(STEPS / 3)

PLOTS: dict[str, Callable[[str], str]] = {
    "line": lambda name: line_chart(
        [Line(name, STEPS, WAVE, WAVE - 1, WAVE + 1), Line("gru", STEPS, WAVE)],
        title=name,
        xlabel=name,
        ylabel=name,
        spans=[(2, 4, name)],
    ),
    "panels": lambda name: panels([Panel([Line(name, None, WAVE)], name, log_y=True), Panel([Line("a", None, WAVE)])]),
    "interval": lambda name: interval_chart(
        [(name, 1, 0, 2, [0.5, 1.5])], title=name, xlabel=name, reference=(1, name)
    ),
    "bar": lambda name: bar_chart([(name, 1), ("b", 2, 1.5, 2.5)], title=name, xlabel=name, reference=(1, name)),
    "heat": lambda name: heat_map([[1, 2], [3, np.nan]], rows=[name, "b"], columns=[name, "d"], title=name, label=name),
    "histogram": lambda name: histogram([(name, WAVE)], title=name, xlabel=name),
    "scatter": lambda name: scatter([Line(name, WAVE, STEPS)], title=name, xlabel=name, diagonal=True),
    "coverage": lambda name: coverage_chart([Line(name, [0.1, 0.9], [0.2, 0.8])], title=name),
}
every_plot = pytest.mark.parametrize("plot", [cache(plot) for plot in PLOTS.values()], ids=PLOTS)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str, layout: str = "wide") -> list[str]:
    return [node.text or "" for node in part(svg, layout).iter("{http://www.w3.org/2000/svg}text")]


def part(svg: str, layout: str) -> ElementTree.Element:
    return next(node for node in parsed(svg) if node.get("class") == layout)


def drawn_points(svg: str, colour: str, layout: str = "wide") -> np.ndarray:
    """The corners ``(N, 2)`` of the longest stroke in a palette colour, in units of the view box."""
    strokes = [node for node in part(svg, layout).iter() if f"stroke: var(--{colour}," in node.get("style", "")]
    paths = [node.get("d") for node in strokes if node.get("clip-path")]
    longest = max((path for path in paths if path), key=len)
    return np.array([pair.split() for pair in re.findall(r"[ML]([-\d. ]+)", longest)], float)


@every_plot
def test_hostile_text_stays_text(plot):
    svg = plot(HOSTILE)
    root = parsed(svg)  # well-formed
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
        "svg", "g", "defs", "path", "use", "text", "clipPath", "rect", "image",
    }  # fmt: skip
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff\ufffe]", svg)
    assert "<script" not in svg
    assert "script" in "".join(texts(svg)).replace("\n", "")
    assert not [key for node in root.iter() for key in node.attrib if key.lower().startswith("on")]


@every_plot
def test_no_reference_leaves_the_file(plot):
    svg = plot("gru")
    assert re.findall(r"https?:[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert all(target.startswith(("#", "data:image/png")) for target in re.findall(r'href="([^"]*)', svg))


@every_plot
def test_same_input_same_text_whatever_the_users_settings(plot):
    theirs = {"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other", "axes.grid": False}
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams)
        assert plot.__wrapped__("gru") == plot("gru")
        assert dict(matplotlib.rcParams) == before


@every_plot
def test_every_colour_is_a_variable_of_the_page(plot):
    svg = plot("gru")
    bare = re.findall(r"(?<![,\w])#[0-9a-f]{6}\b", re.sub(r"data:[^\"]*", "", svg))
    assert not bare
    used = set(re.findall(r"var\(--([\w-]+),", svg))
    assert used <= set(palette.PALETTE)
    assert {"muted", "rule"} <= used


@every_plot
def test_every_text_and_stroke_names_its_colour(plot):
    # What is left out is black: invisible in the dark.
    for node in parsed(plot("gru")).iter():
        if node.tag.endswith("text"):
            assert "fill: var(--" in node.get("style", "")
        if node.tag.endswith(("path", "use")) and "id" not in node.attrib:
            assert "fill:" in node.get("style", "") or "stroke:" in node.get("style", "")


@every_plot
def test_references_hit_ids_that_are_unique(plot):
    svg = plot("gru")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)


@every_plot
def test_two_layouts_and_a_name_for_who_cannot_see(plot):
    root = parsed(plot("gru"))
    assert [node.get("class") for node in root] == ["wide", "narrow"]
    assert root.get("role") == "img"
    assert root.get("aria-label")
    narrow = float(root[1].get("viewBox").split()[2])
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", ElementTree.tostring(root[1]).decode())]
    assert min(sizes) * 328 / narrow > 9.5  # CSS pixels on a phone of 360 with its margins


@settings(deadline=None, max_examples=12)
@given(name=st.text(max_size=60), values=st.lists(st.floats(), min_size=1, max_size=12))
def test_any_name_and_any_floats_draw_or_are_refused(name, values):
    try:
        svg = line_chart([Line(name, None, values)], title=name)
    except InputError:
        assert not any(abs(value) <= 1e150 for value in values)
    else:
        root = parsed(svg)
        assert not re.search(r"\b(nan|inf)\b", " ".join(node.get("d", "") for node in root.iter()))


def test_pyplot_stays_out():
    program = (
        "import sys, gatelab.report.plots as p; p.histogram([('a', [1])]); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_well_known_names_have_one_colour_everywhere():
    assert {palette.well_known(name).colour for name in ("GRU", "gru 32", "gru (seed 3)")} == {"gru"}
    assert palette.well_known("Last value").colour == palette.well_known("seasonal naive (24)").colour == "grey"
    assert palette.well_known("grumble") is None
    for make in (lambda n: line_chart([Line(n, None, WAVE)]), lambda n: bar_chart([(n, 1)])):
        assert "var(--lstm," in make("LSTM")
        assert "var(--lstm," not in make("other")
    baselines = palette.styles(["last value", "seasonal naive", "drift", "linear", "ets", "arima"])
    assert len({style.dash for style in baselines}) == len({style.marker for style in baselines}) == 6


def test_unknown_names_are_told_apart():
    found = palette.styles([f"name {at}" for at in range(24)])
    assert len({(style.colour, style.dash) for style in found}) == 24


def test_one_name_at_several_settings_is_told_apart():
    found = palette.styles(["gru 16", "gru 32", "seasonal naive (24)", "seasonal naive (168)", "last value"])
    assert len({(style.colour, style.dash) for style in found}) == 5
    assert [style.colour for style in found] == ["gru"] * 2 + ["grey"] * 3


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_contrast_is_aa_in_both_modes(mode):
    shades = {name: luminance(getattr(shade, mode)) for name, shade in palette.PALETTE.items()}
    grounds = {"paper", "card", "mark"}
    for name in set(shades) - grounds - {"rule"}:
        for ground in grounds if name in ("ink", "muted", "accent") else {"paper"}:
            low, high = sorted([shades[name], shades[ground]])
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def test_a_gap_is_a_gap_and_a_lone_value_a_dot():
    y = np.array([1.0, 2, np.nan, 5, np.inf, 3, 4, 2])
    svg = line_chart([Line("gru", None, y)])
    path = re.search(r'd="([^"]*)" clip-path[^>]*stroke: var\(--gru', part_text(svg))[1]
    assert [len(piece.split("L")) for piece in path.split("M")[1:]] == [2, 1, 3]  # 1 2 | 5 | 3 4 2
    assert len(re.findall(r"<\w*:?use [^>]*fill: var\(--gru", part_text(svg))) == 1


def part_text(svg: str, layout: str = "wide") -> str:
    return ElementTree.tostring(part(svg, layout)).decode()


def test_a_long_series_keeps_its_extremes_and_its_gap_and_stays_small():
    rng = np.random.default_rng(0)
    y = rng.normal(size=200_000)
    y[77_777], y[123_456] = 40, -30
    y[50_000:60_000] = np.nan
    svg = line_chart([Line("gru", None, y, y - 1, y + 1)])
    assert len(svg) < 250_000
    points = drawn_points(svg, "gru")
    reference = drawn_points(
        line_chart([Line("gru", None, [-30.0, 40.0, 0], [-31.0, 39.0, -1], [-29.0, 41.0, 1])]), "gru"
    )
    peak, trough = points[:, 1].min(), points[:, 1].max()
    np.testing.assert_allclose([trough, peak], reference[:2, 1], atol=0.1)
    empty = np.diff(points[:, 0]).max() / np.ptp(points[:, 0])
    assert empty == pytest.approx(10_000 / 200_000, abs=0.003)


def test_reduction_keeps_the_picture_of_each_pixel_column():
    from gatelab.report.plots.reduction import reduced

    rng = np.random.default_rng(1)
    x, y = np.sort(rng.uniform(size=5000)), rng.normal(size=5000)
    few_x, few_y = reduced(x, y, 100)
    assert len(few_x) <= 400
    column, few_column = (np.floor((v - x[0]) / np.ptp(x) * 100).clip(max=99) for v in (x, few_x))
    for at in range(100):
        whole, kept = y[column == at], few_y[few_column == at]
        assert (whole[0], whole[-1], whole.min(), whole.max()) == (kept[0], kept[-1], kept.min(), kept.max())


@pytest.mark.parametrize(
    "x",
    [
        pd.date_range("2024-01-01", periods=20, freq="D"),
        pd.date_range("2024-01-01", periods=20, freq="D", tz="Europe/Berlin"),
        pd.period_range("2024-01-01", periods=20, freq="D"),
        pd.Series(pd.date_range("2024-01-01", periods=20, freq="D")),
        np.arange("2024-01-01", "2024-01-21", dtype="datetime64[D]"),
        list(pd.date_range("2024-01-01", periods=20, freq="D").to_pydatetime()),
    ],
    ids=["naive", "zoned", "periods", "series", "days", "datetimes"],
)
def test_dates_are_short_on_the_axis(x):
    svg = line_chart([Line("truth", x, WAVE)], spans=[(x[2] if not hasattr(x, "iloc") else x.iloc[2], x[4])])
    assert "2024-Jan" in texts(svg)
    assert "05" in texts(svg) or "09" in texts(svg)


def test_bands_nest():
    svg = line_chart([Line("gru", STEPS, WAVE, WAVE - 2, WAVE + 2, bands=[(WAVE - 1, WAVE + 1)])])
    assert len(re.findall(r"fill: var\(--gru,[^\"]*fill-opacity", part_text(svg))) == 2


def test_log_axis_has_plain_numbers_and_no_place_for_zero():
    svg = line_chart([Line("gru", None, [0, 1, 10, 1e5, -1])], log_y=True)
    assert {"1", "1,000", "100,000"} <= set(texts(svg))
    assert "mathdefault" not in svg
    with pytest.raises(InputError, match="nothing to plot"):
        line_chart([Line("gru", None, [0, -1])], log_y=True)


def test_doublings_take_the_same_room_and_have_their_ticks():
    svg = panels([Panel([Line("gru", [2, 8, 32, 128], [4, 3, 2, 1])], log_x=True)])
    assert {"2", "8", "32", "128"} <= set(texts(svg)) & set(texts(svg, "narrow"))
    curve = next(path for path in re.findall(r'<path d="(M[^"]+)"', svg) if path.count("L") == 3)
    gaps = np.diff([float(x) for x in re.findall(r"[ML] ?([-\d.]+) ", curve)])  # (3,)
    assert gaps == pytest.approx([gaps[0]] * 3, rel=1e-3)


@pytest.mark.parametrize("x", [[0, 1], [-1, 1], np.array(["2024-01-01", "2024-01-02"], "datetime64[D]")])
def test_a_logarithmic_axis_refuses_what_has_no_place_on_it(x):
    with pytest.raises(InputError, match="logarithmic axis"):
        panels([Panel([Line("gru", x, [1, 2])], log_x=True)])


def test_rows_say_when_there_is_no_value():
    svg = interval_chart(
        [("gru", 7.2, 7.1, 7.3, [7.1, 7.3]), ("rnn", np.nan, None, None, ()), ("ets", 7, None, None, ())]
    )
    assert {"7.20", "no value", "7.00", "gru", "rnn", "ets"} <= set(texts(svg)) & set(texts(svg, "narrow"))
    assert "no value" in texts(bar_chart([("gru", np.inf), ("rnn", 1)]))


def test_interval_lies_where_it_should():
    svg = interval_chart([("gru", 2, 1, 3, [1, 2, 3]), ("lstm", 6, 5, 9, [])])
    (low, _), (high, _) = drawn_points(svg, "gru")[[0, -1]]
    (other_low, _), (other_high, _) = drawn_points(svg, "lstm")[[0, -1]]
    unit = (high - low) / 2
    np.testing.assert_allclose([other_low - low, other_high - low], [4 * unit, 8 * unit], atol=0.1)


def test_ratios_lie_by_their_logarithms():
    svg = interval_chart([("gru", 2, 1, 4, [2]), ("lstm", 0.5, 0.25, 1, [])], reference=(1, "equal"), ratios=True)
    (low, _), (high, _) = drawn_points(svg, "gru")[[0, -1]]
    (other_low, _), (other_high, _) = drawn_points(svg, "lstm")[[0, -1]]
    assert other_high == pytest.approx(low, abs=0.1)
    assert high - low == pytest.approx(other_high - other_low, abs=0.1)
    assert {"0.5", "1", "2"} <= set(texts(svg))
    assert "no value" in texts(interval_chart([("gru", 2, 1, 4, []), ("rnn", 0, 0, 0, [])], ratios=True))


def test_rows_have_the_look_they_are_given():
    svg = interval_chart([("a", 1, 0, 2, []), ("b", 2, 1, 3, [])], looks=[palette.Style("rose"), palette.Style("grey")])
    assert palette.light("rose") in svg
    assert palette.light("grey") in svg
    assert palette.light("violet") not in svg


def test_a_rounded_nothing_has_no_sign():
    shown = texts(interval_chart([("a", -1e-9, None, None, ()), ("b", -0.5, None, None, ())]))
    assert {"0.000", "−0.500"} <= set(shown)


def test_heat_map_pixels_are_the_matrix():
    import base64
    import io

    from PIL import Image

    svg = heat_map([[0.0, 0.5, np.nan], [1.0, 0.25, 0.75]])
    first = re.search(r"data:image/png;base64,([^\"]*)", svg)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(first))).convert("RGBA"))  # (2, 3, 4)
    alpha = pixels[..., 3].astype(float)  # (2, 3)
    assert pixels.shape == (2, 3, 4)
    np.testing.assert_allclose(alpha[[0, 0, 1, 1], [0, 1, 1, 2]] / alpha[1, 0], [0, 0.5, 0.25, 0.75], atol=0.02)
    assert tuple(pixels[0, 2, :3]) != tuple(pixels[0, 1, :3])  # a gap has a colour of its own


def test_a_large_heat_map_is_averaged():
    assert len(heat_map(np.random.default_rng(0).random((3000, 2000)))) < 700_000


def test_histogram_counts():
    svg = histogram([("gru", [0.1, 0.2, 0.3, 1.5, np.nan])], bins=2)
    assert "3.0" in texts(svg) or "3" in texts(svg)
    assert len(histogram([("gru", [*np.random.default_rng(0).normal(size=999), 1e9])])) < 50_000
    histogram([("constant", [4.0] * 5)])


def test_many_points_stay_small():
    rng = np.random.default_rng(0)
    assert len(scatter([Line("gru", rng.normal(size=100_000), rng.normal(size=100_000))])) < 600_000


def test_long_and_many_labels_fit():
    long = "a name that goes on and on " * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns when a layout collapses
        line_chart([Line(f"{at} {long}", None, WAVE) for at in range(30)], title=long, xlabel=long, ylabel=long)
        interval_chart([(long, 1, 0, 2, []), ("b", 1, 0, 2, [])], title=long, xlabel=long, reference=(1, long))
        heat_map(WAVE.reshape(4, 5), rows=[long] * 4, columns=[long] * 5, title=long, label=long, xlabel=long)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: line_chart([]),
        lambda: line_chart([Line("a", None, [])]),
        lambda: line_chart([Line("a", None, [np.nan])]),
        lambda: line_chart([Line("a", [1, 2], [1])]),
        lambda: line_chart([Line("a", None, [1], low=[0])]),
        lambda: line_chart([Line("a", None, ["x"])]),
        lambda: line_chart([Line("a", None, [[1, 2]])]),
        lambda: line_chart([Line("a", None, [1], colour="nope")]),
        lambda: line_chart([Line("a", STEPS, WAVE), Line("b", pd.date_range("2024", periods=20), WAVE)]),
        lambda: line_chart([Line("a", STEPS, WAVE)], spans=[(np.datetime64("2024"), np.datetime64("2025"))]),
        lambda: panels([]),
        lambda: panels([Panel([Line("a", None, WAVE)]), Panel([])]),
        lambda: interval_chart([]),
        lambda: interval_chart([("a", 1)]),
        lambda: interval_chart([("a", np.nan, None, None, ())]),
        lambda: bar_chart([("a", 1, 2)]),
        lambda: bar_chart([("a", 1)], reference=(np.nan, "x")),
        lambda: heat_map([]),
        lambda: heat_map([[np.nan]]),
        lambda: heat_map([[1, 2]], columns=["a"]),
        lambda: histogram([]),
        lambda: histogram([("a", [np.inf])]),
        lambda: coverage_chart([Line("a", [0.5], [1.5])]),
    ],
)
def test_what_cannot_be_drawn_is_refused_clearly(draw):
    with pytest.raises(InputError):
        draw()
