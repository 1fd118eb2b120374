"""Scales, ticks and shapes."""

import xml.etree.ElementTree as ElementTree

import pytest

from experiments.present.html.svg import Canvas, Scale, decade_ticks, round_ticks


def test_a_scale() -> None:
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [Scale(4, 16, 0, 100, logarithmic=True)(value) for value in (4, 8, 16)] == [0, 50, 100]
    assert Scale(0, 10, 200, 100)(10) == 100
    assert Scale(6, 6, 0, 100, logarithmic=True)(6) == 50


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (5650, [0, 2000, 4000, 6000]),
        (100, [0, 50, 100]),
        (0.87, [0, 0.5, 1.0]),
        (21, [0, 10, 20, 30]),
        (0, [0, 1]),
    ],
)
def test_ticks(high: float, ticks: list[float]) -> None:
    found = round_ticks(high, 3)
    assert found[: len(ticks)] == pytest.approx(ticks) if high else found[0] == 0


def test_an_image_is_valid_and_keeps_what_it_is_told() -> None:
    canvas = Canvas(100, 50, "a < b")
    canvas.line([(0, 0), (1, 2)], "line")
    canvas.area(
        [(0, 0), (1, 2), (3, 4)],
        "band",
    )
    canvas.box(0, 0, 10, -1, "bar", "5 & 6")
    for shape in ("circle", "square", "diamond", "triangle"):
        canvas.mark(5, 5, shape, "mark", "here")
    canvas.text(0, 0, "<text>", "tick", "end", turned=True)
    root = ElementTree.fromstring(canvas.render("wide"))
    assert root.attrib["viewBox"] == "0 0 100 50"
    assert root.attrib["aria-label"] == "a < b"
    assert [element.text for element in root.iter("text")] == ["<text>"]
    assert {element.text for element in root.iter("title")} == {"5 & 6", "here"}
    assert [element.attrib["height"] for element in root.iter("rect")] == ["0.0"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (30, 700, [20, 50, 100, 200, 500, 1000]),
        (20, 20, [20, 50]),
        (5, 9.5, [5, 10]),
        (0.03, 0.2, [0.02, 0.05, 0.1, 0.2]),
        (99, 100, [50, 100]),
    ],
)
def test_decade_ticks_enclose_all_values(low: float, high: float, ticks: list[float]) -> None:
    assert decade_ticks(low, high) == pytest.approx(ticks)
