"""A file of published values is read, or refused in a line that names what is wrong and what is allowed."""

from pathlib import Path

import pytest

from experiments.published.figures import MOST, X
from experiments.published.targets import read_targets
from netstack.errors import ConfigError

PLACES: dict[str, list[X]] = {"old": [1, 2, 4], "new": [1, MOST]}
STATISTICS = ("connections_per_second", "request_us.mean")
GOOD = "- {variant: old, x: 4, statistic: connections_per_second, value: 250}\n"


def test_values_by_place(tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text(
        GOOD
        + "- {variant: new, x: null, statistic: request_us.mean, value: 12.5}\n"
        + "- {variant: new, x: 1.0, statistic: request_us.mean, value: 0}\n"
    )
    assert read_targets(str(path), PLACES, STATISTICS) == {
        ("old", 4, "connections_per_second"): 250.0,
        ("new", "max", "request_us.mean"): 12.5,
        ("new", 1, "request_us.mean"): 0.0,
    }


BAD = {
    "variant": (GOOD.replace("old", "older"), "entry 1: variant=older: allowed are old; new"),
    "statistic": (GOOD.replace("connections", "fish"), "statistic=fish_per_second: allowed are connections_per_second; request"),
    "place": (GOOD.replace("4", "3"), "entry 1: x=3: allowed are 1; 2; 4"),
    "place of another variant": (GOOD.replace("4", "max"), "x=max: allowed are 1; 2; 4"),
    "place as a list": (GOOD.replace("x: 4", "x: [4]"), "allowed are 1; 2; 4"),
    "place as a switch": (GOOD.replace("x: 4", "x: true"), "x=True: allowed are"),
    "text": (GOOD.replace("250", "many"), "value=many: must be a number"),
    "no finite number": (GOOD.replace("250", ".nan"), "must be a number"),
    "twice": (GOOD + GOOD, "entry 2=old, 4, connections_per_second: is there twice"),
    "a key too few": ("- {variant: old, x: 4, statistic: connections_per_second}", "must have the keys variant, x, statistic"),
    "a key too many": (GOOD.replace("}", ", unit: s}"), "must have the keys variant, x, statistic, value and no others"),
    "no list": ("old: 4", "must be a list of entries"),
    "empty": ("", "must be a list of entries"),
    "no YAML": ("[1, ", "must be YAML"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_targets(str(path), PLACES, STATISTICS)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"targets=.*nowhere\.yaml: must be a file that can be read \(No such file"):
        read_targets(str(tmp_path / "nowhere.yaml"), PLACES, STATISTICS)
