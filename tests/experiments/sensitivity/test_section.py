"""The section on constants from an analysis made by hand."""

from pathlib import Path

from experiments.paper.verdicts import Origin, Verdict
from experiments.sensitivity.analysis import ClaimSensitivity, Effect, Judgement, Sensitivity
from experiments.sensitivity.section import sensitivity_section


def claim(name: str, before: Verdict, raised: Verdict) -> ClaimSensitivity:
    effects = (Effect("locks", False, Judgement(3.0, before, "")), Effect("locks", True, Judgement(-1.0, raised, "")))
    value = 1.0 if before is Verdict.HOLDS else -1.0
    return ClaimSensitivity(
        name, "", Origin.CHOSEN, True, "Mb/s", "margin of the order", 0.0, None, 1, 1, Judgement(value, before, ""), effects
    )


def test_nothing_was_run(tmp_path: Path) -> None:
    assert sensitivity_section(tmp_path) is None


def test_a_claim_that_does_not_hold_survives_no_change(tmp_path: Path) -> None:
    claims = (claim("broken", Verdict.HOLDS, Verdict.FAILS), claim("wrong at 6", Verdict.FAILS, Verdict.FAILS))
    (tmp_path / "sensitivity").mkdir()
    data = Sensitivity(20, (1, 2), 9, {"locks": ["some.key"]}, {"model.version": "0"}, claims)
    (tmp_path / "sensitivity" / "sensitivity.json").write_text(data.to_json())
    section = sensitivity_section(tmp_path)
    assert section is not None
    assert [tuple(row) for row in section.tables[0].rows] == [
        ("broken", "chosen", "holds", "1 of 2", "locks +"),
        ("wrong at 6", "chosen", "fails", "", ""),
    ]
    assert [figure.identifier for figure in section.figures] == ["tornado-broken", "tornado-wrong-at-6"]
    assert all(figure.panels[0].startswith("<svg") for figure in section.figures)
