"""Drawing in SVG with text as text and colours by class, so that a page's style sheet decides how light and dark look.

Knows shapes and scales, not what is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Position = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, value = (
            (math.log2(v) for v in (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)


def round_ticks(high: float, count: int) -> list[float]:
    """Return ticks from 0 in steps of 1, 2 or 5 times a power of ten; the last is the first one not below `high`."""
    raw = max(high, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [step * index for index in range(math.ceil(high / step - 1e-9) + 1)] if high > 0 else [0.0, step]


def decade_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten; the first is the last one not above `low`, the last the first one not below `high`.

    Both are above 0.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = max(tick for tick in ticks if tick <= low * (1 + 1e-9))
    above = min(tick for tick in ticks if tick >= max(high, 2 * below) * (1 - 1e-9))
    return [tick for tick in ticks if below <= tick <= above]


class Canvas:
    """An SVG image that grows element by element. Coordinates are pixels from the upper left corner."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height = width, height
        self._label = label
        self._elements: list[str] = []

    def line(self, positions: Sequence[Position], kind: str, title: str = "") -> None:
        """Draw a line through positions."""
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in positions)
        self._add(f'<path d="{path}" class="{kind}"', title, "path")

    def area(self, positions: Sequence[Position], kind: str) -> None:
        """Fill the polygon of some positions."""
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in positions) + "Z"
        self._add(f'<path d="{path}" class="{kind}"', "", "path")

    def box(self, x: float, y: float, width: float, height: float, kind: str, title: str = "") -> None:
        """Fill a rectangle."""
        self._add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(0, height):.1f}" class="{kind}"', title, "rect"
        )

    def mark(self, x: float, y: float, shape: str, kind: str, title: str = "") -> None:
        """Draw a marker: circle, square, diamond or triangle."""
        if shape == "circle":
            self._add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"', title, "circle")
            return
        corners = {
            "square": [(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)],
            "diamond": [(0, -5.2), (5.2, 0), (0, 5.2), (-5.2, 0)],
            "triangle": [(0, -4.8), (4.6, 3.6), (-4.6, 3.6)],
        }[shape]
        path = "M" + "L".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners) + "Z"
        self._add(f'<path d="{path}" class="{kind}"', title, "path")

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start", turned: bool = False) -> None:
        """Write text; `anchor` is start, middle or end; turned text reads upwards."""
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self._elements.append(f'<text {position}{turn} class="{kind}">{escape(text)}</text>')

    def render(self, kind: str = "") -> str:
        """Return the image as markup; its container decides how large it is."""
        box = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        return f'<svg {box} class="{kind}" role="img" aria-label="{escape(self._label)}">{"".join(self._elements)}</svg>'

    def _add(self, opening: str, title: str, tag: str) -> None:
        self._elements.append(f"{opening}><title>{escape(title)}</title></{tag}>" if title else f"{opening}/>")
