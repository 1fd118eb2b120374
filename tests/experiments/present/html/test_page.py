"""A report is one file with every claim, figure and table in it, whatever was run, and refers to nothing outside."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.paper.claims import CLAIMS
from experiments.paper.verdicts import PointKey, Verdict, evaluate
from experiments.points.names import PointName
from experiments.points.point import Outcome, Point
from experiments.present.html.page import claim_row, headline, write_report
from experiments.present.html.panels import figures
from experiments.present.html.parts import Figure, Section, Table
from netstack.sim import Result, SimulationConfig

World = dict[PointKey, Result]
VOID = {"meta", "br", "path", "rect", "circle"}
COMMAND = "python run.py -m experiment=paper 'tracking.uri=<x>'"


class Checker(HTMLParser):
    """Collects what a page refers to, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.identifiers: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        assert tag not in ("script", "link", "img", "iframe", "object")
        if tag not in VOID or self.get_starttag_text() == f"<{tag}>":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in VOID and self.open[-1] != tag:
            self.open.pop()
        if tag not in VOID:
            assert self.open.pop() == tag


def outcomes_of(points: World, folder: Path) -> list[Outcome]:
    """Return outcomes with configurations and provenance of their own."""
    made = []
    for key, result in points.items():
        config = SimulationConfig(conns=key.conns, seed=key.seed)
        config.org.name, config.org.groups, config.costs.lock_profiling = key.org, key.groups, key.profiled
        point = Point(config, PointName(key.org, "conns", key.conns, key.seed), folder)
        point.folder.mkdir(parents=True)
        known = {"model.version": "abc", "python.version": "3", "numba.version": "4", "numpy.version": "5"}
        git = {"git.commit": "0123456789abcdef", "git.dirty": "true"}
        (point.folder / "provenance.json").write_text(json.dumps(known | git))
        made.append(Outcome(point, result))
    return made


def page(points: World, folder: Path, **arguments) -> str:
    outcomes = outcomes_of(points, folder)
    return write_report(folder / "report.html", outcomes, "A <title>", COMMAND, folder, **arguments).read_text()


def test_the_whole_report(published_world: World, tmp_path: Path) -> None:
    text = page(published_world, tmp_path)
    checker = Checker()
    checker.feed(text)
    assert [tag for tag in checker.open if tag not in VOID] == []
    assert all(reference.startswith("#") for reference in checker.references)
    assert {reference[1:] for reference in checker.references} <= set(checker.identifiers)
    assert len(set(checker.identifiers)) == len(checker.identifiers)
    assert not re.search(r"https?:|url\(|@import", text)
    plain = text.replace("&#39;", "'").replace("&gt;", ">")
    for claim in CLAIMS:
        assert claim.sentence in plain
        assert claim.definition in plain
        assert claim.published in plain
    assert text.count('class="verdict holds"') == len(CLAIMS)
    assert f"{len(CLAIMS)} of {len(CLAIMS)} claims hold: 13 of 13 predicted, 11 of 11 chosen, 3 of 3 fitted." in text
    for claim in CLAIMS:
        assert f'<td data-name="class">{claim.origin_label}</td>' in text
    for expected in ("A &lt;title&gt;", "0123456789ab with changes", "abc", "1, 2, 3", "python run.py -m experiment=paper"):
        assert expected in text
    assert "219 of 219 finished" in text
    assert {figure.identifier for figure in figures(published_world)} <= set(checker.identifiers)
    assert len(figures(published_world)) == 6
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.parametrize("kept", ["nothing", "one organization", "one load", "groups only", "one seed"])
def test_a_report_of_less(kept: str, published_world: World, tmp_path: Path) -> None:
    keep = {
        "nothing": lambda key: False,
        "one organization": lambda key: key.org == "msgp",
        "one load": lambda key: key.conns == 192,
        "groups only": lambda key: key.org == "connp_l" and key.groups == 8,
        "one seed": lambda key: key.seed == 1,
    }[kept]
    points = {key: result for key, result in published_world.items() if keep(key)}
    text = page(points, tmp_path)
    Checker().feed(text)
    assert "nan" not in text.lower().replace("nano", "")
    judged = [claim for claim in evaluate(CLAIMS, points) if claim.verdict is not Verdict.NOT_RUN]
    assert headline(evaluate(CLAIMS, points)) in text
    assert text.count('class="verdict not-run"') == len(CLAIMS) - len(judged)


def test_a_failed_point_is_counted(published_world: World, tmp_path: Path) -> None:
    outcomes = outcomes_of({key: r for key, r in published_world.items() if key.conns == 6}, tmp_path)
    outcomes[0] = Outcome(outcomes[0].point, None, "broken")
    text = write_report(tmp_path / "report.html", outcomes, "t", COMMAND, tmp_path).read_text()
    assert f"{len(outcomes) - 1} of {len(outcomes)} finished" in text


def test_sections_of_others(published_world: World, tmp_path: Path) -> None:
    def found(output_dir: Path) -> Section:
        figure = Figure("tornado", "What moves a claim", "caption", ["<svg></svg>"], [("low", "up")], Table(["a"], [["b"]]))
        return Section("sensitivity", "Sensitivity", [f"read in {output_dir}"], [figure], [Table(["c"], [["d"]])])

    points = {key: result for key, result in published_world.items() if key.conns == 6}
    text = page(points, tmp_path, sources=(found, lambda _: None))
    assert '<section id="sensitivity">' in text
    assert '<a href="#sensitivity">Sensitivity</a>' in text
    assert f"read in {tmp_path}" in text
    assert "<svg></svg>" in text
    assert "<td>" in text


def row(name: str, points: World):
    (claim,) = [claim for claim in CLAIMS if claim.name == name]
    return claim_row(claim.evaluate(points))


def test_rows_of_claims(published_world: World) -> None:
    number = row("up at 6", published_world)
    assert (number.symbol, number.simulated, number.error) == ("✓", "4,034 ± 10.0 Mb/s", "+0.0 %")
    points = row("connp_l gain at 16,384", published_world)
    assert points.error == "+0 points"
    assert row("up's misses", published_world).simulated == "1.83 ± 0.00 1/KB; 4.08 ± 0.01 1/KB; 18.5 ± 0.05 1/KB"
    assert next(part[1] for part in row("up's misses", published_world).parts) == "L2 misses of up at 6 (fitted)"
    table = row("table 1: cells", published_world)
    assert (table.simulated, table.error) == ("21 of 21 within", "largest +0 points, waits of msgp at 6 with lock profiling")
    order = row("connp_l best", published_world)
    assert (order.simulated, order.error) == ("39 of 39", "margin from +5 %")
    assert len(order.parts) == 39
    assert row("connp_l best", {}).simulated == "not run"
    for key, result in published_world.items():
        if key.org == "msgp" and key.conns == 24:
            result.goodput_mbps = 6000.0
    worse = row("connp_l best", published_world)
    assert (worse.symbol, worse.tone, worse.simulated, worse.error) == ("✗", "fails", "38 of 39", "margin from -9 %")
    assert worse.parts[0][0] == "✗"
    assert worse.parts[0][1] == "goodput of connp_l(128) at 24 above goodput of msgp at 24"
