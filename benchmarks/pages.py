"""Write the tables of figures into the pages, between their markers, from the files in ``benchmarks/results``.

``<!-- figures: NAME -->`` and ``<!-- end of figures -->`` enclose a table, which the function of that name in
:mod:`benchmarks.summaries` makes. The line below a table has the conditions of the run. ``--check`` only lists the
pages that are out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from benchmarks.summaries import RESULTS, SUMMARIES, Summary, conditions

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md")))
MOST_LINKS = 3
BLOCK = re.compile(r"(?<=<!-- figures: )([\w-]+)( -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page would change")
    options = parser.parse_args(arguments)
    has_changed = False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        written = render(text, page.parent)
        if written != text:
            has_changed = True
            print(f"{'out of date' if options.check else 'written'}: {page.relative_to(ROOT)}")
            if not options.check:
                page.write_text(written, encoding="utf-8")
    return int(options.check and has_changed)


def render(text: str, folder: Path) -> str:
    """Return the text of a page in ``folder`` with all tables rewritten from results."""
    return BLOCK.sub(lambda found: found[1] + found[2] + _block(SUMMARIES[found[1]](), folder), text)


def _block(summary: Summary, folder: Path) -> str:
    rule = ["---"] * len(summary.header)
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in (summary.header, rule, *summary.rows))
    place = Path(os.path.relpath(RESULTS, folder)).as_posix()
    links = ", ".join(f"[{name}.json]({place}/{name}.json)" for name in summary.files)
    if len(summary.files) > MOST_LINKS:
        links = f"{len(summary.files)} files of [results]({place})"
    about = f"{summary.about} " if summary.about else ""
    return f"\n{table}\n{about}{conditions(summary.files)} From {links}.\n\n"


if __name__ == "__main__":
    sys.exit(main())
