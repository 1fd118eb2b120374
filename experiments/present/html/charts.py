"""Charts of estimates: lines over a load with bands, stacked bars, published against simulated values.

Knows numbers, names and classes of the style sheet, not where they come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.paper.verdicts import Estimate
from experiments.present.html.svg import Canvas, Scale, decade_ticks, round_ticks

COLOURS = 12  # classes of the style sheet, series-1 and so on
MARKERS = ("circle", "square", "diamond", "triangle")
LABEL_HEIGHT = 14.0
CHARACTER_WIDTH = 6.4  # of the labels of an axis
NAME_WIDTH = 7.0  # of a character of a line's name


@dataclass(frozen=True)
class Line:
    """A series of estimates over x; `kind` is its class in the style sheet."""

    name: str
    kind: str
    points: list[tuple[float, Estimate]]
    shape: str = "circle"


@dataclass(frozen=True)
class Anchor:
    """A published value, at one x or from one to another."""

    label: str
    kind: str
    y: float
    x: float
    until: float | None = None
    shape: str = "diamond"
    what: str = "published"
    """What its label begins with."""


@dataclass(frozen=True)
class LineChart:
    """A panel of lines over a load, which is connections on a logarithmic axis unless others are given."""

    title: str
    unit: str
    lines: Sequence[Line]
    wanted: Sequence[float] = ()
    """The x that must be labelled; others are where there is room."""
    anchors: Sequence[Anchor] = ()
    limit: tuple[str, float] | None = None
    """A line across, with what it means."""
    highest: float | None = None
    axis: str = "connections"
    """What x counts."""
    linear: bool = False
    decades: bool = False
    """Whether y is logarithmic; all y are above 0."""
    names: Mapping[float, str] = field(default_factory=dict)
    """Labels of x that are no numbers."""

    def draw(self, width: float = 350, height: float = 250, kind: str = "") -> str:
        """Return the panel as markup."""
        xs = sorted({x for line in self.lines for x, _ in line.points} | {anchor.x for anchor in self.anchors})
        ys = [estimate.mean for line in self.lines for _, estimate in line.points] + [anchor.y for anchor in self.anchors]
        ys += [self.limit[1]] if self.limit else []
        highest = self.highest if self.highest is not None else max(ys)
        ticks = decade_ticks(min(ys), highest) if self.decades else round_ticks(highest, 6 if height > 300 else 4)
        named = width > 600
        longest = max((len(line.name) for line in self.lines), default=0)
        left, right, top, bottom = 52, (max(84, NAME_WIDTH * longest + 14) if named else 20), 40, 44
        canvas = Canvas(width, height, f"{self.title} ({self.unit})")
        x_scale = Scale(xs[0], xs[-1], left, width - right, logarithmic=not self.linear)
        y_scale = Scale(ticks[0], ticks[-1], height - bottom, top, logarithmic=self.decades)
        _frame(canvas, self.title, self.unit, ticks, y_scale, (left, width - right), self.decades)
        _x_axis(canvas, {self.label(x): x_scale(x) for x in xs}, [self.label(x) for x in self.wanted], y_scale.start)
        canvas.text((left + width - right) / 2, height - 8, self.axis, "axis", "middle")
        if self.limit:
            name, value = self.limit
            canvas.line([(left, y_scale(value)), (width - right, y_scale(value))], "limit")
            canvas.text(left + 4, y_scale(value) - 5, name, "note")
        for line in self.lines:
            self._line(canvas, line, x_scale, y_scale)
        for anchor in self.anchors:
            ends = [x_scale(anchor.x), x_scale(anchor.until or anchor.x)]
            title = f"{anchor.what}: {anchor.label}"
            if anchor.until is None:
                canvas.mark(ends[0], y_scale(anchor.y), anchor.shape, f"anchor {anchor.kind}", title)
            else:
                canvas.line([(x, y_scale(anchor.y)) for x in ends], f"anchor {anchor.kind}", title)
        if named:
            _end_labels(canvas, self.lines, y_scale, width - right + 8)
        return canvas.render(kind)

    def label(self, x: float) -> str:
        """Return what stands at an x of the axis."""
        return self.names.get(x, f"{x:,.0f}")

    def _line(self, canvas: Canvas, line: Line, x_scale: Scale, y_scale: Scale) -> None:
        points = [(x_scale(x), estimate) for x, estimate in line.points]
        if len(points) > 1:
            upper = [(x, y_scale(min(estimate.high, y_scale.high))) for x, estimate in points]
            lower = [(x, y_scale(max(y_scale.low, estimate.low))) for x, estimate in points]
            canvas.area([*upper, *lower[::-1]], f"band {line.kind}")
            canvas.line([(x, y_scale(estimate.mean)) for x, estimate in points], f"line {line.kind}")
        for (x, estimate), (load, _) in zip(points, line.points, strict=True):
            value = f"{_number(estimate.mean)} ± {_number(estimate.half_width)} {self.unit}"
            title = f"{line.name} at {self.label(load)} {self.axis}: {value}"
            canvas.mark(x, y_scale(estimate.mean), line.shape, f"mark {line.kind}", title)


@dataclass(frozen=True)
class Bar:
    """A stack of parts: name, class, height."""

    label: str
    parts: list[tuple[str, str, float]]


@dataclass(frozen=True)
class BarChart:
    """A panel of stacked bars; panels of one figure share `highest`."""

    title: str
    unit: str
    bars: Sequence[Bar]
    highest: float
    wanted: Sequence[str] = field(default_factory=list)
    axis: str = "connections"
    """What the labels of bars count."""

    def draw(self, width: float = 290, height: float = 270) -> str:
        """Return the panel as markup."""
        ticks = round_ticks(self.highest, 5)
        left, right, top, bottom = 46, 16, 40, 44
        canvas = Canvas(width, height, f"{self.title} ({self.unit})")
        y_scale = Scale(0, ticks[-1], height - bottom, top)
        _frame(canvas, self.title, self.unit, ticks, y_scale, (left, width - right))
        step = (width - right - left) / len(self.bars)
        centers = {bar.label: left + step * (index + 0.5) for index, bar in enumerate(self.bars)}
        for bar in self.bars:
            base = 0.0
            for name, kind, value in bar.parts:
                y = y_scale(base + value)
                x = centers[bar.label] - 0.41 * step
                title = f"{self.title}, {bar.label}: {name} {_number(value)} {self.unit}"
                canvas.box(x, y, 0.82 * step, y_scale(base) - y, f"bar {kind}", title)
                base += value
        _labels(canvas, centers, self.wanted, height - bottom)
        canvas.text((left + width - right) / 2, height - 8, self.axis, "axis", "middle")
        return canvas.render()


@dataclass(frozen=True)
class DotRow:
    """A published and a simulated value of one row, and perhaps another simulated one that is shown beside them."""

    label: str
    published: float
    simulated: Estimate | None
    near: bool
    beside: Estimate | None = None


@dataclass(frozen=True)
class DotChart:
    """A panel that compares published and simulated percentages, in rows."""

    title: str
    rows: Sequence[DotRow]
    beside: str = ""
    """What the values beside are."""

    def draw(self, width: float = 350) -> str:
        """Return the panel as markup."""
        left, right, top, step, bottom = 100, 20, 34, 28, 40
        height = top + step * len(self.rows) + bottom
        canvas = Canvas(width, height, f"{self.title} (%)")
        x_scale = Scale(0, 100, left, width - right)
        canvas.text(0, 14, self.title, "title")
        for tick in (0, 25, 50, 75, 100):
            canvas.line([(x_scale(tick), top - 8), (x_scale(tick), height - bottom)], "grid")
            canvas.text(x_scale(tick), height - bottom + 16, f"{tick}", "tick", "middle")
        canvas.text((left + width - right) / 2, height - 6, "acquisitions that had to wait (%)", "axis", "middle")
        for index, row in enumerate(self.rows):
            y = top + step * (index + 0.5)
            canvas.text(left - 10, y + 4, row.label, "tick", "end")
            if row.simulated is not None:
                value = row.simulated
                color = "near" if row.near else "far"
                canvas.line([(x_scale(row.published), y), (x_scale(value.mean), y)], f"gap {color}")
                canvas.line([(x_scale(max(0, value.low)), y), (x_scale(min(100, value.high)), y)], "whisker")
                title = f"{row.label}: simulated {value.mean:.1f} ± {value.half_width:.1f} %, published {row.published:g} %"
                canvas.mark(x_scale(value.mean), y, "circle", f"mark {color}", title)
            if row.beside is not None:
                title = f"{row.label}: {self.beside} {row.beside.mean:.1f} ± {row.beside.half_width:.1f} %"
                canvas.mark(x_scale(row.beside.mean), y, "circle", "beside", title)
            canvas.mark(x_scale(row.published), y, "diamond", "published", f"{row.label}: published {row.published:g} %")
        return canvas.render()


def _frame(
    canvas: Canvas, title: str, unit: str, ticks: list[float], scale: Scale, ends: tuple[float, float], decades: bool = False
) -> None:
    """Draw title, unit, and a horizontal grid with its numbers."""
    canvas.text(0, 14, title, "title")
    canvas.text(0, 29, unit, "axis")
    for tick in ticks:
        canvas.line([(ends[0], scale(tick)), (ends[1], scale(tick))], "grid" if tick > ticks[0] else "base")
        canvas.text(ends[0] - 6, scale(tick) + 4, _number(tick, tick if decades else ticks[1]), "tick", "end")


def _x_axis(canvas: Canvas, pixels: dict[str, float], wanted: Sequence[str], base: float) -> None:
    for pixel in pixels.values():
        canvas.line([(pixel, base), (pixel, base + 4)], "base")
    _labels(canvas, pixels, wanted, base)


def _labels(canvas: Canvas, positions: dict[str, float], wanted: Sequence[str], base: float) -> None:
    """Write the wanted labels, and as many others as fit between them."""
    chosen: dict[str, float] = {}
    for label in [*(label for label in wanted if label in positions), *positions]:
        width = CHARACTER_WIDTH * len(label) + 6
        if all(abs(positions[label] - other) >= (width + CHARACTER_WIDTH * len(text) + 12) / 2 for text, other in chosen.items()):
            chosen[label] = positions[label]
    for label, x in chosen.items():
        canvas.text(x, base + 18, label, "tick", "middle")


def _end_labels(canvas: Canvas, lines: Sequence[Line], scale: Scale, x: float) -> None:
    """Name the lines at their ends, pushed apart where they would overlap, and upwards where they would leave the panel."""
    ends = sorted((scale(line.points[-1][1].mean), line.name, line.kind) for line in lines if line.points)
    ys: list[float] = []
    for wanted, _, _ in ends:
        ys.append(max(wanted, ys[-1] + LABEL_HEIGHT) if ys else wanted)
    lowest = scale.start
    for index in range(len(ys) - 1, -1, -1):
        ys[index] = min(ys[index], lowest)
        lowest = ys[index] - LABEL_HEIGHT
    for y, (_, name, kind) in zip(ys, ends, strict=True):
        canvas.text(x, y + 4, name, f"name {kind}")


def _number(value: float, step: float | None = None) -> str:
    """Return a number with as many digits as it needs; on an axis as its step needs."""
    size = abs(step if step is not None else value)
    if size >= 100 or (step is not None and size >= 1) or value == 0:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if size >= (10 if step is None else 0.1) else f"{value:,.2f}"


def series_classes(names: Sequence[str]) -> dict[str, str]:
    """Return each series' class of the style sheet: colours far apart if there are few."""
    last = max(1, len(names) - 1)
    step = (COLOURS - 1) / last if len(names) <= COLOURS else 1.0
    return {name: f"series-{round(index * step) % COLOURS + 1}" for index, name in enumerate(names)}
