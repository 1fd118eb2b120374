"""Charts show every value they are given, and no text leaves its panel or covers another."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from experiments.paper.verdicts import Estimate
from experiments.present.html.charts import Anchor, Bar, BarChart, DotChart, DotRow, Line, LineChart

LOADS = (6, 12, 24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 12288, 16384)
LINES = [
    Line(name, name, [(float(load), Estimate(value + index, 30.0, 5)) for index, load in enumerate(LOADS)], shape)
    for name, value, shape in (("up", 2000.0, "circle"), ("connp_t", 2004.0, "square"), ("connp_l", 5400.0, "triangle"))
]
ANCHORS = [Anchor("best", "up", 4034.0, 6.0), Anchor("stable", "connp_l", 5440.0, 24.0, 1536.0)]
CHARTS = {
    "wide lines": LineChart("Goodput", "Mb/s", LINES, (6, 192, 16384), ANCHORS, ("full", 5650.0)).draw(1140, 480),
    "narrow lines": LineChart("Goodput", "Mb/s", LINES, (6, 192, 16384), ANCHORS, ("full", 5650.0)).draw(350, 330),
    "one point": LineChart("Goodput", "Mb/s", [Line("up", "up", [(6.0, Estimate(0.0, 0.0, 1))])]).draw(),
    "bars": BarChart(
        "up", "cycles/KB", [Bar(f"{load:,}", [("a", "a", 9000.0), ("b", "b", 1.0)]) for load in LOADS], 21000.0
    ).draw(),
    "dots": DotChart("6 connections", [DotRow(f"connp_l({n})", 50.0, Estimate(40.0, 70.0, 2), False) for n in (4, 128)]).draw(),
}


def texts(markup: str) -> list[tuple[str, float, float, float, float]]:
    """Return what is written, and about where: left, top, right, bottom."""
    found = []
    for element in ElementTree.fromstring(markup).iter("text"):
        text = element.text or ""
        size = 7.4 if element.attrib["class"] in ("title", "name") else 6.2
        x, y, width = float(element.attrib["x"]), float(element.attrib["y"]), size * len(text)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[element.attrib["text-anchor"]]
        found.append((text, left, y - 9, left + width, y + 2))
    return found


@pytest.mark.parametrize("name", CHARTS)
def test_no_text_leaves_the_panel_or_covers_another(name: str) -> None:
    width, height = map(float, ElementTree.fromstring(CHARTS[name]).attrib["viewBox"].split()[2:])
    found = texts(CHARTS[name])
    assert len(found) > 5
    for text, left, top, right, bottom in found:
        assert min(left, top) >= -1, text
        assert right <= width + 1, text
        assert bottom <= height + 1, text
    for one, other in itertools.combinations(found, 2):
        overlap = min(one[3], other[3]) - max(one[1], other[1]), min(one[4], other[4]) - max(one[2], other[2])
        assert min(overlap) <= 0, (one, other)


def test_values_can_be_read() -> None:
    titles = {element.text for element in ElementTree.fromstring(CHARTS["wide lines"]).iter("title")}
    assert "connp_l at 192 connections: 5,405 ± 30.0 Mb/s" in titles
    assert "published: best" in titles
    assert "published: stable" in titles
    assert len(titles) == 3 * len(LOADS) + 2
    bars = [element.text for element in ElementTree.fromstring(CHARTS["bars"]).iter("title")]
    assert "up, 16,384: a 9,000 cycles/KB" in bars
    dots = [element.text for element in ElementTree.fromstring(CHARTS["dots"]).iter("title")]
    assert "connp_l(4): simulated 40.0 ± 70.0 %, published 50 %" in dots


def test_names_at_the_ends_of_lines_are_pushed_apart() -> None:
    names = {text: top for text, _, top, _, _ in texts(CHARTS["wide lines"]) if text in ("up", "connp_t", "connp_l")}
    assert len(names) == 3
    assert abs(names["up"] - names["connp_t"]) >= 13


def test_names_of_lines_that_end_together_are_apart_and_inside_of_the_panel() -> None:
    lines = [Line(f"line {index}", "up", [(1, Estimate(100, 0, 1)), (2, Estimate(0.1 * index, 0, 1))]) for index in range(12)]
    markup = LineChart("title", "unit", lines, linear=True).draw(1100, 420, "wide")
    ys = sorted(float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="start" class="name', markup))
    assert len(ys) == 12
    assert min(after - before for before, after in itertools.pairwise(ys)) >= 13.9
    assert ys[-1] <= 420 - 44 + 4


def test_a_linear_axis_has_numbers_where_they_are_and_names_for_others() -> None:
    line = Line("base", "up", [(200, Estimate(1, 0, 1)), (400, Estimate(2, 0, 1)), (1200, Estimate(4, 0, 1))])
    markup = LineChart("title", "unit", [line], axis="requests", linear=True, names={1200: "max"}, wanted=[1200]).draw(350, 250)
    path = re.search(r'<path d="M([^"]*)" class="line up"', markup)
    assert path is not None
    first, second, last = (float(position.split(",")[0]) for position in path[1].split("L"))
    assert (second - first) / (last - first) == pytest.approx(0.2, abs=1e-3)
    assert ">max</text>" in markup
    assert ">requests</text>" in markup


def test_decades_give_equal_distances_to_equal_factors() -> None:
    line = Line("base", "up", [(1, Estimate(20, 0, 1)), (2, Estimate(200, 5, 1)), (3, Estimate(2000, 0, 1))])
    markup = LineChart("title", "us", [line], linear=True, decades=True).draw(350, 250)
    path = re.search(r'<path d="M([^"]*)" class="line up"', markup)
    assert path is not None
    low, middle, high = (float(position.split(",")[1]) for position in path[1].split("L"))
    assert low - middle == pytest.approx(middle - high, abs=0.2)
    assert all(f">{tick}</text>" in markup for tick in ("20", "50", "100", "1,000", "2,000"))
