"""The command ``python -m netstack.script FILE...``: runs scripts and says which pass. Knows only scripts and outcomes."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from netstack.installation import started_as
from netstack.script.backend import endpoint_backend
from netstack.script.coverage import coverage_table
from netstack.script.interpreter import Outcome, Verdict, run_script
from netstack.script.parser import load
from netstack.script.syntax import Script, ScriptError

PASSED, FAILED, BAD_INPUT, ONLY_UNSUPPORTED = 0, 1, 2, 3
"""Exit codes: the worst of all files, in the order of failed, bad input, unsupported."""
_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNSUPPORTED: "yellow"}
_WIDTH = 140  # of output that is not a terminal


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=started_as("python -m netstack.script"),
        description="Runs packetdrill scripts against the TCP of this project, in virtual time.",
        epilog="Exit code: 0 all passed, 1 one failed, 2 a file is not a script, 3 one is unsupported and none failed.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a script")
    parser.add_argument("--ip_version", choices=["ipv4", "ipv6", "ipv4-mapped-ipv6"], help="for scripts that name none")
    parser.add_argument("--platform", choices=["linux", "freebsd"], help="whose defaults, where a script does not say")
    parser.add_argument("-D", "--define", action="append", default=[], metavar="NAME=VALUE", help="put a value for a name")
    parser.add_argument("--strict", action="store_true", help="compare order and padding of TCP options and echoed timestamps")
    parser.add_argument("--check", action="store_true", help="only parse")
    parser.add_argument("--coverage", action="store_true", help="only print which sections of which RFC they test")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every event")
    options = parser.parse_args(arguments)
    for definition in options.define:
        if not definition.partition("=")[0].isidentifier():
            parser.error(f"--define {definition}: expected NAME=VALUE")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, by default that of the process, and return its exit code."""
    options = _options(arguments)
    console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=_WIDTH, soft_wrap=True)
    backend = None if options.check or options.coverage else endpoint_backend()
    files = 0
    scripts: list[Script] = []
    bad: list[ScriptError] = []
    outcomes: list[Outcome] = []
    for path in options.files:
        try:
            found = load(path, options.define, options.platform)
            files += 1
            scripts += found
            if backend is None:
                continue
            for script in found:
                trace = (lambda line: console.print(line, markup=False, highlight=False)) if options.verbose else None
                outcome = run_script(script, backend, options.ip_version, options.strict, trace, options.platform)
                outcomes.append(outcome)
                console.print(str(outcome), markup=False, highlight=False, style=_STYLES[outcome.verdict])
        except ScriptError as error:
            bad.append(error)
            print(f"error: {error}", file=sys.stderr)
    if options.coverage:
        print(coverage_table(scripts), end="")
    elif options.check:
        console.print(f"{files} of {len(options.files)} are scripts", highlight=False)
    elif len(outcomes) + len(bad) > 1:
        console.print(_summary(outcomes, bad))
    return _exit_code(outcomes, bad)


def _summary(outcomes: list[Outcome], bad: list[ScriptError]) -> Table:
    table = Table("script", "verdict", "line", "why")
    for outcome in outcomes:
        why = outcome.message.split("\n", 1)[0]
        name = f"{outcome.path}: {outcome.case}" if outcome.case else outcome.path
        table.add_row(name, f"[{_STYLES[outcome.verdict]}]{outcome.verdict.value}", str(outcome.line or ""), why)
    for error in bad:
        table.add_row(error.path, "[red]not a script", str(error.line), error.reason)
    counts = [f"{sum(outcome.verdict is verdict for outcome in outcomes)} {verdict.value}" for verdict in Verdict]
    table.caption = ", ".join([*counts, f"{len(bad)} not a script"])
    return table


def _exit_code(outcomes: list[Outcome], bad: list[ScriptError]) -> int:
    verdicts = {outcome.verdict for outcome in outcomes}
    if Verdict.FAIL in verdicts:
        return FAILED
    if bad:
        return BAD_INPUT
    return ONLY_UNSUPPORTED if Verdict.UNSUPPORTED in verdicts else PASSED


if __name__ == "__main__":
    sys.exit(main())
