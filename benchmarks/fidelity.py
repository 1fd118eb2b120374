"""Writes the table and the figure of docs/fidelity.md anew. Run from the root of the tree, so that its packages are found:

    python -m benchmarks.fidelity
    python -m benchmarks.fidelity output_dir=/tmp/ablation workers=2

Runs what is left of experiment=ablation, and puts what it wrote into the page.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.points import ROOT

PAGE = ROOT / "docs" / "fidelity.md"
FIGURE = ROOT / "docs" / "figures" / "ablation.png"
MARKS = "<!-- table -->\n", "<!-- end of table -->\n"


def with_table(page: str, report: str) -> str:
    """Return a page with the table of a report between its marks, in place of what is there."""
    before, first, rest = page.partition(MARKS[0])
    _, last, behind = rest.partition(MARKS[1])
    if not first or not last:
        raise ValueError(f"the page needs the lines {MARKS[0].strip()} and {MARKS[1].strip()}")
    table = report.partition("\n\nRun again")[0].strip()
    return f"{before}{first}\n{table}\n\n{last}{behind}"


def written_files(output: str) -> dict[str, Path]:
    """Return the files that a sweep says it wrote, by their names."""
    return {path.name: path for path in map(Path, re.findall(r"^written: (.+)$", output, re.MULTILINE))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of the sweep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the sweep, for example workers=2")
    overrides = parser.parse_args(arguments).overrides
    command = [sys.executable, "run.py", "-m", "experiment=ablation", *overrides]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    if done.returncode == 0:
        files = written_files(done.stdout)
        PAGE.write_text(with_table(PAGE.read_text(), (ROOT / files["ablation.md"]).read_text()))
        shutil.copyfile(ROOT / files["ablation.png"], FIGURE)
        print(f"written: {PAGE} and {FIGURE}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
