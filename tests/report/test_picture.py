"""Pictures as files of their own."""

import re
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from gatelab.core.errors import InputError
from gatelab.report.plots import Line, Panel, Picture

STEPS = np.arange(20)
PICTURE = Picture([Panel([Line("gru", STEPS, np.sin(STEPS), np.sin(STEPS) - 1, np.sin(STEPS) + 1)], title="a wave")])


def test_a_png_is_sharp_and_has_paper_behind_it(tmp_path):
    pixels = matplotlib.image.imread(PICTURE.save(tmp_path / "p.PNG"))  # (height, width, 4)
    assert pixels.shape[1] > 1500
    np.testing.assert_allclose(pixels[0, 0], [0xFC / 255, 0xFC / 255, 0xFA / 255, 1], atol=1e-3)
    green = (np.abs(pixels[..., :3] - np.array([0, 0x79, 0x5B]) / 255) < 0.02).all(axis=2)  # (height, width)
    assert green.any(axis=0).mean() > 0.7  # the line goes all the way


def test_an_svg_needs_no_page_around_it(tmp_path):
    text = PICTURE.save(tmp_path / "p.svg").read_text()
    ElementTree.fromstring(text)
    assert "var(--" not in text
    assert "<text" not in text  # letters are outlines: no font is needed
    assert "#00795b" in text


@pytest.mark.parametrize("name", ["p.png", "p.svg"])
def test_the_same_picture_is_the_same_file(name, tmp_path):
    first = PICTURE.save(tmp_path / name).read_bytes()
    assert PICTURE.save(tmp_path / f"again-{name}").read_bytes() == first


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        PICTURE.save(tmp_path / "p.jpeg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frequency", ["D", "h", "MS", "W", "5min", "YS"])
@pytest.mark.parametrize("rows", [4, 24, 45])
def test_small_plots_tell_the_time_at_two_places_at_least(frequency, rows):
    dates = pd.date_range("2024-04-03", periods=rows, freq=frequency)
    heights = np.arange(rows) / 7e3  # whose ticks look like no date
    svg = Picture([Panel([Line("y", dates, heights)], title="t", ylabel="y")] * 3, 3, 190)._repr_svg_()
    wide = svg.split('class="narrow"')[0]
    first = wide.partition(">t<")[0]  # the axis of the first plot is drawn before its title
    ticks = re.findall(r"<text[^>]*>((?:[A-Z][a-z]{2}(?:-\d\d)?|\d{4}|\d\d(?::\d\d)?))</text>", first)
    assert len(ticks) >= 2, ticks
