"""The page of any sweep: what its script reads and its table shows are the results, and it refers to nothing outside."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.points.names import has_axes, name_points
from experiments.points.point import Outcome, Point
from experiments.present.html.sweep_page import MOST_ROWS, write_sweep_page
from netstack.sim import Result, SimulationConfig
from tests.helpers.outcomes import outcomes

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
LIMIT_BYTES = 2_000_000


class Reader(HTMLParser):
    """Collects identifiers, references, labelled inputs, and the cells of the table that sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.identifiers += [given["id"] or ""] if "id" in given else []
        self.references += [given[key] or "" for key in ("src", "href") if key in given]
        if tag == "tr" and (given.get("class") or "").startswith("of-"):
            self.rows.append([])
        if tag in ("td", "th") and "data-value" in given:
            self.rows[-1].append(given["data-value"] or "")


def sweep(result: Result, composed: Callable[..., SimulationConfig], folder: Path) -> list[Outcome]:
    """Return a sweep of two organizations at three loads with two seeds, each with a goodput of its own."""
    configs = [
        composed(f"org={org}", f"conns={conns}", f"seed={seed}")
        for org in ("up", "connp_l")
        for conns in (6, 24, 192)
        for seed in (1, 2)
    ]
    made = outcomes(result, configs, folder)
    for outcome in made:
        outcome.point.folder.mkdir(parents=True)
        known = {f"{name}.version": "1" for name in ("model", "python", "numba", "numpy")}
        (outcome.point.folder / "provenance.json").write_text(json.dumps(known))
    return made


def page(made: Sequence[Outcome], folder: Path, command: str = "python run.py -m 'x=</script>'") -> str:
    path = write_sweep_page(folder / "sweep.html", made, "A sweep", command)
    assert path is not None
    return path.read_text()


def data_of(text: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture
def made(result: Result, composed: Callable[..., SimulationConfig], tmp_path: Path) -> list[Outcome]:
    return sweep(result, composed, tmp_path)


def test_the_script_reads_the_results(made: list[Outcome], tmp_path: Path) -> None:
    data = data_of(page(made, tmp_path))
    assert data["series"] == ["up", "connp_l"]
    assert [(point["s"], point["x"], point["n"]) for point in data["points"]] == [
        (series, x, 2) for series in (0, 1) for x in (6, 24, 192)
    ]
    goodput = [name["name"] for name in data["statistics"]].index("goodput_mbps")
    for index, point in enumerate(data["points"]):
        one, other = (made[2 * index + seed].result.goodput_mbps for seed in (0, 1))  # pyright: ignore[reportOptionalMemberAccess]
        mean, half = point["m"][goodput]
        assert mean == pytest.approx((one + other) / 2, rel=1e-4)
        assert half == pytest.approx(12.706 * abs(one - other) / 2, rel=1e-4)  # Student's t of one degree of freedom
    assert data["points"][0]["v"]["org.name"] == "up"
    assert sum(data["points"][0]["c"].values()) == pytest.approx(sum(made[0].result.cycles_per_kb.values()), rel=1e-4)  # pyright: ignore[reportOptionalMemberAccess]


def test_the_table_has_the_numbers_behind_its_texts(made: list[Outcome], tmp_path: Path) -> None:
    reader = Reader()
    reader.feed(page(made, tmp_path))
    assert [row[:2] for row in reader.rows] == [[name, str(float(x))] for name in ("up", "connp_l") for x in (6, 24, 192)]
    best = max(reader.rows, key=lambda row: float(row[2]))
    assert best[0] == "connp_l"
    assert "connp_l at 192 connections has the most goodput" in page(made, tmp_path)


def test_it_refers_to_nothing_outside_and_to_what_it_has(made: list[Outcome], tmp_path: Path) -> None:
    text = page(made, tmp_path)
    reader = Reader()
    reader.feed(text)
    assert all(reference.startswith("#") and reference[1:] in reader.identifiers for reference in reader.references)
    assert len(set(reader.identifiers)) == len(reader.identifiers)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    for name in re.findall(r'byId\("(\w+)"\)', text):
        assert name in reader.identifiers
    assert "x=&lt;/script&gt;" in text


def test_what_a_user_names_ends_no_script(made: list[Outcome], composed, tmp_path: Path) -> None:
    orgs = {name: replace(composed(f"org={name}").org, name=f"</script><b>{name}") for name in ("up", "connp_l")}
    configs = [replace(outcome.point.config, org=orgs[outcome.point.config.org.name]) for outcome in made]
    renamed = [
        Outcome(Point(config, name, tmp_path), one.result)
        for config, name, one in zip(configs, name_points(configs), made, strict=True)
    ]
    for outcome in renamed:
        outcome.point.folder.mkdir(parents=True, exist_ok=True)
        (outcome.point.folder / "provenance.json").write_text((made[0].point.folder / "provenance.json").read_text())
    text = page(renamed, tmp_path)
    assert data_of(text)["series"] == ["</script><b>up", "</script><b>connp_l"]
    assert "<b>up" not in text


def test_axes_are_series_and_loads(made: list[Outcome]) -> None:
    names = [outcome.point.name for outcome in made]
    assert has_axes(names)
    assert not has_axes(names[:6])
    assert not has_axes([name for name in names if name.x == 6])


def test_a_page_of_many_points_is_small_and_of_too_many_is_left_out(
    result: Result, composed: Callable[..., SimulationConfig], tmp_path: Path
) -> None:
    base = composed("org=up")
    configs = [SimulationConfig(**{**vars(base), "conns": conns}) for conns in range(1, MOST_ROWS + 2)]
    many = outcomes(result, configs, tmp_path)
    many[0].point.folder.mkdir(parents=True)
    known = {f"{name}.version": "1" for name in ("model", "python", "numba", "numpy")}
    for outcome in many:
        outcome.point.folder.mkdir(parents=True, exist_ok=True)
        (outcome.point.folder / "provenance.json").write_text(json.dumps(known))
    assert write_sweep_page(tmp_path / "sweep.html", many, "Too many", "") is None
    assert len(page(many[:1000], tmp_path)) < LIMIT_BYTES


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_draws_the_chart_and_compares_two_points(made: list[Outcome], tmp_path: Path) -> None:
    page(made, tmp_path)
    assert BROWSER is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    command = [BROWSER, *options, (tmp_path / "sweep.html").as_uri()]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    chart = re.search(r'id="chart".*?</svg>', text, re.DOTALL)
    assert chart is not None
    assert chart[0].count("<circle") == 6
    told = re.search(r'id="told"[^>]*>([^<]*)', text)
    assert told is not None
    first, second = max(range(6), key=lambda index: data_of(text)["points"][index]["m"][0][0]), 2
    values = [data_of(text)["points"][index]["m"][0][0] for index in (first, second)]
    assert told[1].startswith(f"goodput: {values[0]:,.0f} and {values[1]:,.0f} Mb/s")
    assert not re.search(r'<section[^>]*id="(explore|compare)"[^>]*hidden', text)
