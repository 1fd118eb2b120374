"""What must be so in every figure: its texts can be read."""

import itertools

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text


def readable_texts(figure: Figure, dpi: int, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the texts of a figure. None of them overlaps another or leaves the figure."""
    figure.set_dpi(dpi)
    figure.canvas.draw()  # settles the layout
    drawn: list[Text] = []
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: drawn.append(text))
        figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn if text.get_visible() and text.get_text().strip()]
    assert len(boxes) > 5
    for (one, box), (other, box2) in itertools.combinations(boxes, 2):
        overlap = min(box.x1, box2.x1) - max(box.x0, box2.x0), min(box.y1, box2.y1) - max(box.y0, box2.y0)
        assert min(overlap) <= 1, (one, other)
    for text, box in boxes:
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    return {text for text, _ in boxes}
