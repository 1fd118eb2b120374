"""Draws the way of a write through a trace: from the write to the link, and from its acknowledgment to the wake-up.

Reads the file of a trace only, as Perfetto does.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Patch

from experiments.config.user_errors import InputError
from experiments.trace.chrome import CORES

BEGIN, SENT, RECEIVED, DONE = "sosend_unit", "driver_transmit", "driver_receive", "sb_drop"
GAP_US = 12.0  # after which what a connection's operations belong to is something else
MARGIN_US = 0.6
COLORS = {
    "protocol": "#4b5563",
    "application": "#0b63c5",
    "copy": "#2a9d8f",
    "driver": "#6a9a1f",
    "interrupt": "#9ccc65",
    "scheduling": "#7c3aed",
    "lock_spin": "#dc2f3c",
    "lock_sleep": "#dc2f3c",
    "cache_stall": "#f08c00",
    "lock_atomic": "#7a0c17",
}
PALE, IDLE = "#c3cad2", "#f1f3f5"
ARROWS = {"wake-up": "#7c3aed", "IPI": "#a78bfa", "hand-off": "#0b63c5", "lock": "#dc2f3c", "interrupt": "#6a9a1f"}
WIDTH, ROW_INCHES, DPI = 13.0, 1.15, 100
LABEL_STEP = 0.017  # of a panel's width between two names
Event = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A write of a connection: the slices from it to the link, and those from the acknowledgment that frees its page on."""

    connection: int
    out: Sequence[Event]
    back: Sequence[Event]

    spans: tuple[tuple[float, float], tuple[float, float]]
    """From when to when both parts are."""

    @property
    def length_us(self) -> float:
        """How long both parts take."""
        return sum(end - begin for begin, end in self.spans)


def read_trace(path: Path) -> dict[str, Any]:
    """Return the events of a trace, and of which point it is. Raises InputError if it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known = {"traceEvents": data["traceEvents"], "point": data["otherData"]["point"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no trace that trace=chrome has written ({error})") from error
    return known


def find_way(events: Sequence[Event], connection: int | None = None) -> Way:
    """Return the shortest way of a write, of one connection or of any. Raises InputError if there is no whole one."""
    received = _received(events)
    own: dict[int, list[Event]] = {}
    for event in sorted((event for event in events if "connection" in event.get("args", ())), key=lambda event: event["ts"]):
        own.setdefault(event["args"]["connection"], []).append(event)
    ways = [way for number, ops in own.items() if connection in (None, number) for way in _ways(number, ops, received)]
    if not ways:
        which = "no connection" if connection is None else f"connection {connection} does not"
        raise InputError(f"{which} writes, sends at once and is acknowledged within the trace: give a larger trace_ms")
    return min(ways, key=lambda way: way.length_us)


def _ways(connection: int, ops: Sequence[Event], received: Callable[[Event], float]) -> list[Way]:
    """Return the ways of a connection: writes whose next operations reach the link, with the acknowledgment of their page.

    Steps of cores overlap: a write that another core takes up before it has ended is none.
    """
    found = []
    for index, event in enumerate(ops):
        if event["name"] != BEGIN:
            continue
        out = _burst(ops[index:])
        last = max((place for place, each in enumerate(out) if each["name"] == SENT), default=-1)
        mbuf = event["args"]["mbuf"]
        freed = next((n for n in range(index, len(ops)) if ops[n]["name"] == DONE and ops[n]["args"]["mbuf"] == mbuf), -1)
        writes = sum(each["name"] == BEGIN for each in out[: last + 1])
        written = max(_end(each) for each in out if each["tid"] == event["tid"])
        early = any(each["tid"] != event["tid"] and each["ts"] < written for each in out)
        if last < 0 or freed < 0 or writes > 1 or early:
            continue
        start = freed
        while start > 0 and ops[start]["name"] != "tcp_predict":
            start -= 1
        back = _burst(ops[start:])
        end = next((n for n, each in enumerate(back) if each["name"] == "so_notify"), len(back) - 1)
        out, back = out[: last + 1], back[: end + 2]
        spans = (_around(out[0]["ts"], out), _around(received(back[0]), back))
        found.append(Way(connection, out, back, spans))
    return found


def _burst(ops: Sequence[Event]) -> list[Event]:
    """Return operations up to the first gap."""
    taken = [ops[0]]
    for event in ops[1:]:
        if event["ts"] - _end(taken[-1]) > GAP_US:
            break
        taken.append(event)
    return taken


def draw_way(data: dict[str, Any], way: Way, path: Path) -> None:
    """Draw both parts of a way, with all cores, as PNG."""
    events: list[Event] = data["traceEvents"]
    cores = sorted({event["tid"] for event in events if event["ph"] == "X" and event["pid"] == CORES})
    spans = way.spans
    ratios = [max(0.5, end - begin) for begin, end in spans]
    widths = [max(ratio, 0.35 * max(ratios)) for ratio in ratios]
    figure, axes = plt.subplots(
        1, 2, figsize=(WIDTH, ROW_INCHES * len(cores) + 1.3), sharey=True, width_ratios=widths, layout="constrained"
    )
    titles = ("the write, up to the link", f"{spans[1][0] - spans[0][0]:,.0f} us later: its acknowledgment")
    for panel, part, span, title in zip(axes, (way.out, way.back), spans, titles, strict=True):
        _draw(panel, events, cores, part, span)
        panel.set_title(title, loc="left", fontsize=10)
    axes[0].set_yticks(range(len(cores)), [f"core {core}" for core in cores])
    axes[0].set_ylim(len(cores) - 0.3, -0.85)
    handles = [
        Patch(color=color, label=name.replace("_", " ")) for name, color in COLORS.items() if name in _shown(events, spans)
    ]
    handles += [Patch(color=PALE, label="for others")]
    figure.suptitle(f"{data['point']}: connection {way.connection}", x=0.01, ha="left", fontweight="bold")
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=8, frameon=False)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _end(event: Event) -> float:
    return event["ts"] + event["dur"]


def _around(begin: float, part: Sequence[Event]) -> tuple[float, float]:
    return begin - MARGIN_US, max(map(_end, part)) + MARGIN_US


def _received(events: Sequence[Event]) -> Callable[[Event], float]:
    """Return a function that says when the frame of a segment left the ring, on its core or on that which handed it over."""
    frames: dict[int, list[float]] = {}
    for event in events:
        if event["name"] == RECEIVED:
            frames.setdefault(event["tid"], []).append(event["ts"])
    sources = {event["id"]: event for event in events if event["ph"] == "s" and event["name"] == "hand-off"}
    taken: dict[int, list[Event]] = {}
    for event in events:
        if event["ph"] == "f" and event["id"] in sources:
            taken.setdefault(event["tid"], []).append(event)

    def when(segment: Event) -> float:
        core, time = segment["tid"], segment["ts"]
        if taken:
            before = [event for event in taken.get(core, ()) if event["ts"] <= time]
            if not before:
                return time
            source = sources[max(before, key=lambda event: event["ts"])["id"]]
            core, time = source["tid"], source["ts"]
        return max((begin for begin in frames.get(core, ()) if begin < time), default=time)

    return when


def _shown(events: Sequence[Event], spans: Sequence[tuple[float, float]]) -> set[str]:
    """Return the categories of what is in any of the spans."""
    slices = [event for event in events if event["ph"] == "X"]
    return {event["cat"] for begin, end in spans for event in slices if _end(event) > begin and event["ts"] < end}


def _draw(panel: Axes, events: Sequence[Event], cores: Sequence[int], part: Sequence[Event], span: tuple[float, float]) -> None:
    """Draw what all cores do in a span: slices of the way in colour and by name, and what is waited for."""
    begin, end = span
    own = {id(event) for event in part}
    connection = part[0]["args"]["connection"]
    for row, core in enumerate(cores):
        slices = [
            event
            for event in events
            if event["ph"] == "X" and (event["pid"], event["tid"]) == (CORES, core) and _end(event) > begin and event["ts"] < end
        ]
        label = begin
        panel.axhspan(row - 0.18, row + 0.18, color=IDLE, zorder=0)
        for event in slices:
            category = event["cat"]
            left, right = max(begin, event["ts"]) - begin, min(end, _end(event)) - begin
            if category in ("thread", "idle"):
                if category == "thread":
                    panel.text(left, row + 0.33, event["name"], fontsize=6.5, color="#59636e", clip_on=True)
                    panel.plot([left, right], [row + 0.22] * 2, color="#59636e", linewidth=0.8)
                continue
            about = event["args"].get("connection")
            mine = id(event) in own or about == connection or (about is None and category not in ("driver", "protocol", "copy"))
            inner = event["name"] in ("stall", "locked instructions")
            color = COLORS.get(category, PALE) if mine or inner else PALE
            height, alpha = (0.12, 0.9) if inner else (0.36, 1.0)
            panel.barh(row, right - left, height, left=left, color=color, alpha=alpha, edgecolor="white", linewidth=0.3)
            if not inner and (id(event) in own or category == "scheduling" or event["name"] in (RECEIVED, "lookup", "ip_input")):
                step = LABEL_STEP * (end - begin)
                place = max((left + right) / 2, label - begin)
                label = begin + place + step
                panel.plot([(left + right) / 2, place], [row - 0.18, row - 0.26], color="#c3cad2", linewidth=0.5)
                ink = "#1b1f24" if id(event) in own else "#7c3aed" if category == "scheduling" else "#59636e"
                panel.text(place, row - 0.28, event["name"], rotation=62, fontsize=6, va="bottom", clip_on=True, color=ink)
    _draw_arrows(panel, events, cores, span)
    panel.set_xlim(0, end - begin)
    panel.set_xlabel("us", loc="right", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.tick_params("y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _draw_arrows(panel: Axes, events: Sequence[Event], cores: Sequence[int], span: tuple[float, float]) -> None:
    begins = {event["id"]: event for event in events if event["ph"] == "s"}
    for end in (event for event in events if event["ph"] == "f"):
        source = begins[end["id"]]
        on_cores = source["pid"] == end["pid"] == CORES and source["tid"] != end["tid"]
        if not on_cores or not (span[0] <= source["ts"] and end["ts"] <= span[1]):
            continue
        ends = [(event["ts"] - span[0], cores.index(event["tid"])) for event in (source, end)]
        style = {"arrowstyle": "-|>", "mutation_scale": 8, "linewidth": 0.9, "color": ARROWS[end["name"]], "zorder": 5}
        panel.add_patch(FancyArrowPatch(*ends, connectionstyle="arc3,rad=0.12", **style))
