"""What a page is made of: figures with the numbers behind them, tables, and sections of both.

Knows neither results nor how a page is laid out.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Numbers, for example those behind a figure: a heading per column, rows of texts, and what a reader must know of them."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """Panels with what they show and why it matters. `legend` has a name and a class of the style sheet per colour."""

    identifier: str
    title: str
    caption: str
    panels: Sequence[str]
    legend: Sequence[tuple[str, str]]
    table: Table


@dataclass(frozen=True)
class Section:
    """A part of the page that comes from elsewhere: paragraphs, figures drawn as SVG, and tables."""

    identifier: str
    title: str
    paragraphs: Sequence[str]
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
