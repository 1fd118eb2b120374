"""Whatever a script says: it is refused in one line, or it has an outcome."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.script.interpreter import Outcome, run_script
from netstack.script.parser import parse
from netstack.script.syntax import ScriptError
from tests.helpers.fake_endpoint import fake_backend
from tests.helpers.folders import ROOT

SCRIPTS = [path.read_text() for path in sorted((ROOT / "tests/tcp/scripts").glob("*.pkt"))]
TOKENS = re.compile(r"\w+|\s+|.", re.DOTALL)
SNIPPETS = [
    "0",
    "...",
    "[",
    "}",
    "4294967296",
    "-1",
    "O_RDWR",
    "<",
    ">",
    "TS val 1 ecr 2",
    '"a',
    "`",
    "%{",
    "+.1",
    "~",
    "99",
    "NULL",
    "S.",
]


@st.composite
def damaged_scripts(draw: st.DrawFn) -> str:
    """A script with a few of its words taken out, doubled, exchanged or replaced."""
    words = TOKENS.findall(draw(st.sampled_from(SCRIPTS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words) - 1))
        other = draw(st.integers(0, len(words) - 1))
        match draw(st.sampled_from(["drop", "double", "exchange", "replace"])):
            case "drop":
                words[at] = ""
            case "double":
                words[at] *= 2
            case "exchange":
                words[at], words[other] = words[other], words[at]
            case "replace":
                words[at] = draw(st.sampled_from(SNIPPETS))
    return "".join(words)


@given(damaged_scripts())
@settings(max_examples=400, deadline=None)
def test_a_damaged_script_is_refused_or_has_an_outcome(text: str) -> None:
    backend, _ = fake_backend()
    refused = ""
    outcome = None
    try:
        outcome = run_script(parse(text, "s.pkt"), backend)
    except ScriptError as error:
        refused = str(error)
    assert isinstance(outcome, Outcome) or re.fullmatch(r"s\.pkt:\d+: [^\n]+", refused)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_or_a_script(text: str) -> None:
    refused = "s.pkt:"
    try:
        parse(f"0 {text}", "s.pkt")
    except ScriptError as error:
        refused = str(error)
    assert refused.startswith("s.pkt:")
